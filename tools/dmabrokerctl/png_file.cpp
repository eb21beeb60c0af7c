// SPDX-License-Identifier: MIT
// libpng reports errors by longjmp. Every call into it therefore sits in a small function that has
// nothing to destroy and begins with setjmp; the message waits in State until the caller asks for it.
//
// The reader asks libpng for RGBA in any case: palettes, grey and transparent colours are widened by
// libpng itself, which does it exactly. Gamma and colour profiles are not applied: pixels are numbers, and what they
// mean is told beside them. Their chunks are kept as bytes, those too that libpng would read by itself.
//
// The writer trades size for time: the strongest filters and compression take minutes on 8192 x 8192.
#include "tools/dmabrokerctl/png_file.hpp"

#include "proto/image/image_desc.hpp"
#include "tools/dmabrokerctl/file.hpp"

#include <array>
#include <bit>
#include <cerrno>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <png.h>

namespace dmb::ctl {
namespace {

/// What libpng said last. Kept apart from the objects that longjmp passes over.
struct Message {
    std::array<char, 128> text{};
};

[[noreturn]] void on_error(png_structp png, png_const_charp text)
{
    auto* message = static_cast<Message*>(png_get_error_ptr(png));
    std::snprintf(message->text.data(), message->text.size(), "%s", text);
    png_longjmp(png, 1);
}

/// Warnings are about things that do not change pixels, such as a wrong colour profile.
void on_warning(png_structp, png_const_charp) {}

constexpr bool little_endian = std::endian::native == std::endian::little;

/// Names of five bytes each, as libpng wants them.
constexpr png_byte colour_chunk_names[] = "cICP\0iCCP\0sRGB\0gAMA\0cHRM\0mDCV\0mDCv\0cLLI\0cLLi";

bool read_header(png_structp png, png_infop info, FILE* file)
{
    if (setjmp(png_jmpbuf(png))) return false;
    png_init_io(png, file);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_ALWAYS, colour_chunk_names, sizeof colour_chunk_names / 5);
    // Our own limit comes later, with a sentence that says what the limit is.
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff);
    png_read_info(png, info);
    return true;
}

bool set_up_rows(png_structp png, png_infop info, int& passes)
{
    if (setjmp(png_jmpbuf(png))) return false;
    const bool deep = png_get_bit_depth(png, info) == 16;
    png_set_expand(png);
    png_set_gray_to_rgb(png);
    png_set_add_alpha(png, deep ? 0xffff : 0xff, PNG_FILLER_AFTER);
    if (deep && little_endian) png_set_swap(png);
    passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    return true;
}

bool read_one(png_structp png, png_bytep row)
{
    if (setjmp(png_jmpbuf(png))) return false;
    png_read_row(png, row, nullptr);
    return true;
}

bool read_end(png_structp png)
{
    if (setjmp(png_jmpbuf(png))) return false;
    png_read_end(png, nullptr);
    return true;
}

struct Header {
    Extent size;
    int bits;
    int colour_type;
};

bool write_header(png_structp png, png_infop info, FILE* file, Header header, const std::vector<PngChunk>& chunks)
{
    if (setjmp(png_jmpbuf(png))) return false;
    png_init_io(png, file);
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff);
    png_set_IHDR(png, info, header.size.width, header.size.height, header.bits, header.colour_type, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(png, 1);
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_SUB | PNG_FILTER_UP);
    png_write_info_before_PLTE(png, info);
    for (const PngChunk& chunk : chunks)
        png_write_chunk(png, reinterpret_cast<png_const_bytep>(chunk.name.c_str()), chunk.data.data(), chunk.data.size());
    png_write_info(png, info);
    if (header.bits == 16 && little_endian) png_set_swap(png);
    return true;
}

bool write_one(png_structp png, png_const_bytep row)
{
    if (setjmp(png_jmpbuf(png))) return false;
    png_write_row(png, row);
    return true;
}

bool write_end(png_structp png)
{
    if (setjmp(png_jmpbuf(png))) return false;
    png_write_end(png, nullptr);
    return true;
}

} // namespace

// --- reading -------------------------------------------------------------------------------

struct PngReader::State {
    std::string path;
    File file;
    Message message;
    png_structp png = nullptr;
    png_infop info = nullptr;
    int passes = 1;

    ~State() { png_destroy_read_struct(&png, &info, nullptr); }
    std::unexpected<Error> broken() const
    {
        return fail(Errc::invalid_argument, "{}: not a readable PNG file: {}", path, message.text.data());
    }
};

PngReader::PngReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
PngReader::PngReader(PngReader&&) noexcept = default;
PngReader::~PngReader() = default;

Result<PngReader> PngReader::open(const std::string& path)
{
    auto state = std::make_unique<State>();
    state->path = path;
    state->file.reset(path == "-" ? stdin : std::fopen(path.c_str(), "rbe"));
    if (!state->file) return fail_errno(Errc::invalid_argument, path, errno);
    state->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state->message, on_error, on_warning);
    state->info = state->png ? png_create_info_struct(state->png) : nullptr;
    if (!state->info) return fail(Errc::out_of_memory, "libpng could not be started");
    if (!read_header(state->png, state->info, state->file.get())) return state->broken();
    PngReader reader(std::move(state));
    const Extent size = reader.size();
    if (size.width > max_dimension || size.height > max_dimension)
        return fail(Errc::bad_size, "{}: {}x{} is beyond the limit of {} pixels; scale it down", path, size.width, size.height,
                    max_dimension);
    if (!set_up_rows(reader.state_->png, reader.state_->info, reader.state_->passes)) return reader.state_->broken();
    return reader;
}

Extent PngReader::size() const
{
    return {png_get_image_width(state_->png, state_->info), png_get_image_height(state_->png, state_->info)};
}

unsigned PngReader::bits() const { return png_get_bit_depth(state_->png, state_->info) == 16 ? 16 : 8; }

std::size_t PngReader::row_bytes() const { return std::size_t{size().width} * 4 * (bits() / 8); }

int PngReader::passes() const { return state_->passes; }

std::vector<PngChunk> PngReader::colour_chunks() const
{
    std::vector<PngChunk> out;
    png_unknown_chunkp chunks = nullptr;
    const int count = png_get_unknown_chunks(state_->png, state_->info, &chunks);
    for (int i = 0; i < count; ++i)
        out.push_back({reinterpret_cast<const char*>(chunks[i].name), {chunks[i].data, chunks[i].data + chunks[i].size}});
    return out;
}

Result<> PngReader::read_row(std::byte* row)
{
    if (!read_one(state_->png, reinterpret_cast<png_bytep>(row))) return state_->broken();
    return {};
}

Result<> PngReader::finish()
{
    if (!read_end(state_->png)) return state_->broken();
    return {};
}

// --- writing -------------------------------------------------------------------------------

struct PngWriter::State {
    std::string path;
    OutputFile file;
    Message message{};
    png_structp png = nullptr;
    png_infop info = nullptr;

    ~State() { png_destroy_write_struct(&png, &info); }
    std::unexpected<Error> broken() const
    {
        const int error = errno;
        return fail(Errc::internal, "{}: cannot be written: {}{}{}", path, message.text.data(), error ? ": " : "",
                    error ? std::strerror(error) : "");
    }
};

PngWriter::PngWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
PngWriter::PngWriter(PngWriter&&) noexcept = default;
PngWriter::~PngWriter() = default;

namespace {

constexpr int colour_type(PngColour colour)
{
    switch (colour) {
    case PngColour::grey: return PNG_COLOR_TYPE_GRAY;
    case PngColour::rgb: return PNG_COLOR_TYPE_RGB;
    case PngColour::rgba: return PNG_COLOR_TYPE_RGB_ALPHA;
    }
    return PNG_COLOR_TYPE_RGB_ALPHA;
}

} // namespace

Result<PngWriter> PngWriter::create(const std::string& path, Extent size, PngColour colour, unsigned bits,
                                    const std::vector<PngChunk>& colour_chunks)
{
    OutputFile file = TRY(OutputFile::create(path));
    auto state = std::make_unique<State>(path, std::move(file));
    state->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &state->message, on_error, on_warning);
    state->info = state->png ? png_create_info_struct(state->png) : nullptr;
    if (!state->info) return fail(Errc::out_of_memory, "libpng could not be started");
    const Header header{size, static_cast<int>(bits), colour_type(colour)};
    errno = 0;
    if (!write_header(state->png, state->info, state->file.stream(), header, colour_chunks)) return state->broken();
    return PngWriter(std::move(state));
}

Result<> PngWriter::write_row(const std::byte* row)
{
    errno = 0;
    if (!write_one(state_->png, reinterpret_cast<png_const_bytep>(row))) return state_->broken();
    return {};
}

Result<> PngWriter::finish()
{
    errno = 0;
    if (!write_end(state_->png)) return state_->broken();
    return state_->file.finish();
}

} // namespace dmb::ctl
