// SPDX-License-Identifier: MIT
// dmabroker_cpu_map, with every reading and writing bracketed.
#include "tests/drm/matrix/way.hpp"

#include "proto/wire/json.hpp"

#include <cstring>
#include <dmabroker/dmabroker.hpp>

namespace dmb::matrix {
namespace {

class CpuWay : public Way {
public:
    Outcome verify(const dmabroker_image* image, const Pixels& expected) override
    {
        Pixels actual{expected.format, expected.size, {}};
        const auto copy = [](std::uint8_t* mapped, std::uint8_t* packed, std::size_t n) { std::memcpy(packed, mapped, n); };
        const Outcome done = each_row(image, DMABROKER_DIRECTION_READ, actual, copy);
        if (done.kind != Outcome::pass) return done;
        const std::string wrong = difference(expected, actual);
        return wrong.empty() ? passed() : failed("CPU reads " + wrong);
    }

    Outcome fill(const dmabroker_image* image, const Pixels& pixels) override
    {
        Pixels copy = pixels;
        return each_row(image, DMABROKER_DIRECTION_WRITE, copy,
                        [](std::uint8_t* mapped, std::uint8_t* packed, std::size_t n) { std::memcpy(mapped, packed, n); });
    }

private:
    template <class Copy> Outcome each_row(const dmabroker_image* image, std::uint32_t direction, Pixels& pixels, Copy copy)
    {
        dmabroker_error error{};
        dmabroker_cpu_mapping* mapping = nullptr;
        if (dmabroker_cpu_map(image, direction, &mapping, &error) < 0) return declined(error);
        Outcome outcome = passed();
        if (dmabroker_cpu_begin(mapping, direction, &error) < 0) outcome = declined(error);
        else {
            walk(image, mapping, pixels, copy);
            if (dmabroker_cpu_end(mapping, direction, &error) < 0) outcome = declined(error);
        }
        dmabroker_cpu_unmap(mapping);
        return outcome;
    }

    template <class Copy> void walk(const dmabroker_image* image, dmabroker_cpu_mapping* mapping, Pixels& pixels, Copy copy)
    {
        const auto all = shapes(pixels.format, pixels.size);
        pixels.planes.resize(all.size());
        for (std::uint32_t p = 0; p < all.size(); ++p) {
            pixels.planes[p].resize(std::size_t{all[p].row()} * all[p].texels.height);
            auto* mapped = static_cast<std::uint8_t*>(dmabroker_cpu_data(mapping, p));
            const std::uint32_t stride = dmabroker_image_get_info(image)->planes[p].stride;
            for (std::uint32_t y = 0; y < all[p].texels.height; ++y)
                copy(mapped + std::size_t{y} * stride, pixels.planes[p].data() + std::size_t{y} * all[p].row(), all[p].row());
        }
    }
};

} // namespace

Outcome declined(const dmabroker_error& error)
{
    const bool said_no = error.code == DMABROKER_IMPORT_REFUSED || error.code == DMABROKER_IMPORT_FAILED;
    return {said_no ? Outcome::refused : Outcome::failed, error.text};
}

Colour colour_of(const dmabroker_image_info& info)
{
    return wire::image_desc_from_json(dmabroker::to_json(info)).value().colour;
}

std::unique_ptr<Way> make_cpu_way() { return std::make_unique<CpuWay>(); }

} // namespace dmb::matrix
