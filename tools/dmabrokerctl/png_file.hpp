// SPDX-License-Identifier: MIT
// PNG files, one row at a time, so that an image of half a gigabyte needs no second copy. Rows are
// RGBA with straight alpha in the machine's byte order: 8 or 16 bits per channel.
#pragma once
#include "proto/base/result.hpp"
#include "proto/image/types.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace dmb::ctl {

/// As it lies in a file, without length and checksum.
struct PngChunk {
    std::string name; ///< four letters
    std::vector<std::uint8_t> data;
};

/// Any PNG; palette, grey, transparent colours and missing alpha are widened without loss.
class PngReader {
public:
    /// Reads the header. "-" is standard input.
    static Result<PngReader> open(const std::string& path);
    PngReader(PngReader&&) noexcept;
    ~PngReader();

    Extent size() const;
    /// Bits per channel of the rows: 16 for 16-bit files, 8 for all others.
    unsigned bits() const;
    std::size_t row_bytes() const;
    /// How often all rows must be read, each time into the same memory: 7 for interlaced files, else 1.
    int passes() const;
    /// Those before the pixels that say what colours mean.
    std::vector<PngChunk> colour_chunks() const;

    /// The next row, row_bytes() long.
    Result<> read_row(std::byte* row);
    /// After the last row: the rest of the file must be intact too.
    Result<> finish();

private:
    struct State;
    explicit PngReader(std::unique_ptr<State>);
    std::unique_ptr<State> state_;
};

enum class PngColour { grey, rgb, rgba };

/// Through an OutputFile: a failure leaves no half file behind.
class PngWriter {
public:
    static Result<PngWriter> create(const std::string& path, Extent size, PngColour colour, unsigned bits,
                                    const std::vector<PngChunk>& colour_chunks);
    PngWriter(PngWriter&&) noexcept;
    ~PngWriter();

    /// 1, 3 or 4 channels of 8 or 16 bits.
    Result<> write_row(const std::byte* row);
    Result<> finish();

private:
    struct State;
    explicit PngWriter(std::unique_ptr<State>);
    std::unique_ptr<State> state_;
};

} // namespace dmb::ctl
