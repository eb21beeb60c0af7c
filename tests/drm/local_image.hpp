// SPDX-License-Identifier: MIT
// A dmabroker_image over a memfd that the test made itself: no broker, any layout, any seals.
#pragma once
#include "libclient/handle.hpp"
#include "tests/drm/matrix/pattern.hpp"

#include <memory>

namespace dmb::test {

struct LocalOptions {
    std::uint32_t stride = 0;     ///< of every plane; 0: as linear_layout() says
    std::uint64_t offset = 0;     ///< of the first plane
    std::uint64_t cut = 0;        ///< bytes that the file is smaller than its description says
    bool exact = false;           ///< the memory ends with the last row
    unsigned seals = 0;           ///< beside SHRINK, GROW and SEAL
    bool read_only = false;       ///< the descriptor
    std::uint64_t gbm_node = 0;   ///< described as allocated by GBM there
    std::optional<Colour> colour; ///< nothing: the default of the format
    Rights rights = Rights::all();
    Protection protection = Protection::none;
};

class LocalImage {
public:
    LocalImage(FourCC, Extent, LocalOptions = {});
    LocalImage(const LocalImage&) = delete;
    LocalImage& operator=(const LocalImage&) = delete;
    ~LocalImage();

    const dmabroker_image* get() const { return image_.get(); }
    void write(const matrix::Pixels&);
    matrix::Pixels read() const;

private:
    template <class Copy> void each_row(const Copy&) const;
    ImageDesc desc_;
    std::size_t size_ = 0;
    std::uint8_t* mapping_ = nullptr;
    struct Close {
        void operator()(dmabroker_image* image) const { dmabroker_image_close(image); }
    };
    std::unique_ptr<dmabroker_image, Close> image_; // the library has its destructor
};

} // namespace dmb::test
