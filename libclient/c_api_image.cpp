// SPDX-License-Identifier: MIT
// extern "C": images, tokens, CPU mappings. Thin, but for two decisions: whether initial pixels are written here or by
// a worker, and what an image may be that came without a broker (adopt). An image is one hold; it owns its descriptors
// and stays usable when its client is closed. Errors and exceptions end in guard().
#include "libclient/client.hpp"
#include "libclient/contents.hpp"
#include "libclient/convert.hpp"
#include "libclient/error.hpp"
#include "libclient/import/cpu_map.hpp"
#include "libclient/questions.hpp"
#include "proto/image/format_colour.hpp"

#include <cerrno>

using namespace dmb;

namespace {

/// Whether the library itself can write the initial pixels once it has the image: then they need not
/// travel through a second memory.
bool writes_itself(const AllocateSpec& spec)
{
    constexpr std::uint32_t system = DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_MEMFD) |
                                     DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_UDMABUF) |
                                     DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_DMA_HEAP);
    const bool system_only = !spec.backends.empty() && (spec.backends.bits & ~system) == 0;
    return system_only || spec.usage.has(UsageFlag::cpu_write);
}

/// The initial pixels as they are, if the memory may be the CPU's; else a driver's worker writes them.
Result<std::unique_ptr<dmabroker_image>> allocate_with_contents(Client& client, const dmabroker_allocation& wanted)
{
    wire::Allocate request{TRY(to_request(wanted))};
    if (writes_itself(request.spec)) {
        const dmabroker_pixels pixels = TRY(check_contents(request.spec.size, request.spec.format, *wanted.contents));
        auto image = TRY(client.ask_for_image({.question = std::move(request)}, {}));
        if (write_contents(*image, pixels)) return image;
        // A driver chose a layout that the CPU cannot write after all: its worker can.
    }
    Asked asked = TRY(asked_allocation(&wanted));
    return client.ask_for_image({.question = std::move(asked.question)}, std::move(asked.fds));
}

constexpr std::uint64_t adopted_timeout_ns = 30'000'000'000; // as the default of a connection

/// Opaque memory can be told from nothing else; everything else is identified.
Result<Image> check_adopted(ImageDesc desc, ImageFds fds)
{
    if (desc.kind == MemoryKind::opaque) return Image::adopt(std::move(desc), std::move(fds));
    return Image::validate(std::move(desc), std::move(fds));
}

Result<std::unique_ptr<dmabroker_image>> adopt_image(const dmabroker_image_info& info, const int* fds)
{
    ImageDesc desc = TRY(to_desc(info));
    const Rights rights = info.rights == 0 ? Rights::all() : TRY(to_rights(info.rights));
    TRY(check_layout(desc));
    TRY(check_colour(desc.colour, desc.format));
    ImageFds copies;
    for (UniqueFd& copy : TRY(duplicate_all(fds, desc.memories.size()))) copies.push_back(std::move(copy));
    Image image = TRY(check_adopted(std::move(desc), std::move(copies)));
    std::unique_ptr<dmabroker_image> adopted(new dmabroker_image{std::move(image)});
    adopted->rights = rights;
    adopted->timeout_ns = adopted_timeout_ns;
    describe(*adopted);
    return adopted;
}

} // namespace

extern "C" {

int dmabroker_allocate(dmabroker_client* client, const dmabroker_allocation* allocation, dmabroker_image** image,
                       dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        TRY(require(image, "image"));
        *image = nullptr;
        const dmabroker_allocation wanted = TRY(read_struct(allocation));
        auto made = wanted.contents ? allocate_with_contents(*turn, wanted)
                                    : turn->ask_for_image({.question = wire::Allocate{TRY(to_request(wanted))}}, {});
        *image = TRY(std::move(made)).release();
        return {};
    });
}

int dmabroker_open(dmabroker_client* client, const char* token, uint32_t rights, uint32_t usage, dmabroker_image** image,
                   dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        TRY(require(image, "image"));
        *image = nullptr;
        wire::Open request;
        request.token = TRY(to_token(token));
        request.rights = TRY(to_rights(rights));
        request.usage = TRY(to_usage(usage));
        *image = TRY(turn->open(request)).release();
        return {};
    });
}

int dmabroker_register(dmabroker_client* client, const dmabroker_image_info* info, const int* fds, const char* label,
                       uint64_t lease_ns, dmabroker_image** image, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        TRY(require(image, "image"));
        *image = nullptr;
        Asked asked = TRY(asked_registration(info, fds, label, lease_ns));
        *image = TRY(turn->ask_for_image({.question = std::move(asked.question)}, std::move(asked.fds))).release();
        return {};
    });
}

int dmabroker_image_adopt(const dmabroker_image_info* info, const int* fds, dmabroker_image** image, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        TRY(require(fds, "fds"));
        TRY(require(image, "image"));
        *image = nullptr;
        const dmabroker_image_info stated = TRY(read_struct(info));
        *image = TRY(adopt_image(stated, fds)).release();
        return {};
    });
}

int dmabroker_register_from_process(dmabroker_client* client, const dmabroker_image_info* info, int pid, const int* remote_fds,
                                    const char* label, uint64_t lease_ns, dmabroker_image** image, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        TRY(require(image, "image"));
        *image = nullptr;
        Asked asked = TRY(asked_registration(info, pid, remote_fds, label, lease_ns));
        *image = TRY(turn->ask_for_image({.question = std::move(asked.question)}, std::move(asked.fds))).release();
        return {};
    });
}

void dmabroker_image_close(dmabroker_image* image) { delete image; }

const dmabroker_image_info* dmabroker_image_get_info(const dmabroker_image* image) { return image ? &image->info : nullptr; }

int dmabroker_image_get_fd(const dmabroker_image* image, uint32_t memory)
{
    return image && memory < image->info.memory_count ? image->image.fd(memory) : -EINVAL;
}

void dmabroker_image_set_user_data(dmabroker_image* image, void* user_data)
{
    if (image) image->user_data = user_data;
}

void* dmabroker_image_get_user_data(const dmabroker_image* image) { return image ? image->user_data.load() : nullptr; }

int dmabroker_image_token(dmabroker_image* image, const dmabroker_token_options* options, char token[DMABROKER_TOKEN_SIZE],
                          dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        TRY(require(token, "token"));
        const dmabroker_token_options wanted = TRY(read_struct(options));
        const Rights rights = TRY(to_rights(wanted.rights));
        const Turn turn = TRY(Turn::with(image));
        const Token minted =
            TRY(turn->mint({image->handle, rights, wanted.one_shot != 0, wanted.enforced != 0, wanted.lifetime_ns}));
        const std::string text = to_string(minted);
        text.copy(token, DMABROKER_TOKEN_SIZE - 1);
        token[DMABROKER_TOKEN_SIZE - 1] = '\0';
        return {};
    });
}

int dmabroker_image_set_lease(dmabroker_image* image, uint64_t lease_ns, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> { return TRY(Turn::with(image))->set_lease(image->handle, lease_ns); });
}

int dmabroker_cpu_map(const dmabroker_image* image, uint32_t direction, dmabroker_cpu_mapping** mapping, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        TRY(require(image, "image"));
        TRY(require(mapping, "mapping"));
        *mapping = nullptr;
        const Directions directions = TRY(to_directions(direction));
        *mapping = TRY(CpuMapping::create(*image, directions)).release();
        return {};
    });
}

void* dmabroker_cpu_data(const dmabroker_cpu_mapping* mapping, uint32_t plane)
{
    return mapping ? mapping->data(plane) : nullptr;
}

int dmabroker_cpu_begin(dmabroker_cpu_mapping* mapping, uint32_t direction, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        TRY(require(mapping, "mapping"));
        return mapping->begin(TRY(to_directions(direction)));
    });
}

int dmabroker_cpu_end(dmabroker_cpu_mapping* mapping, uint32_t direction, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        TRY(require(mapping, "mapping"));
        return mapping->end(TRY(to_directions(direction)));
    });
}

void dmabroker_cpu_unmap(dmabroker_cpu_mapping* mapping) { delete mapping; }

} // extern "C"
