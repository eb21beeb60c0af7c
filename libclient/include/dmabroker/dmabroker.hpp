// SPDX-License-Identifier: MIT
/** @file
 * libdmabroker for C++17 and later: the C interface of dmabroker.h with owners, exceptions and strong
 * types. Header only; dmabroker.h is the manual, its names are kept. With C++20:
 *
 *     auto client = dmabroker::Client::connect();
 *     auto image = client.allocate({.size = {640, 480}, .format = dmabroker::fourcc("AB24"),
 *                                   .usage = Usage::cpu_write | Usage::sample});
 *     auto mapping = image.map(Direction::write);
 *     { auto bytes = mapping.begin(Direction::write); draw(bytes.data(), bytes.stride()); }
 *     send_to_friend(image.token(Rights::read));
 *
 * Every failure throws dmabroker::Error. Objects are movable and not copyable; images and mappings may
 * outlive their client. Threads: as dmabroker.h says for the C functions.
 */
#ifndef DMABROKER_HPP
#define DMABROKER_HPP

#include <dmabroker/dmabroker.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace dmabroker {

/** What every function throws: enum dmabroker_code and one sentence (what()) that says what to do. */
class Error : public std::runtime_error {
public:
    explicit Error(const dmabroker_error& error) : Error(error.code, error.text) {}
    Error(int code, const std::string& text) : std::runtime_error(text), code_(static_cast<dmabroker_code>(code)) {}
    dmabroker_code code() const noexcept { return code_; }
    /** "quota_exceeded" for DMABROKER_QUOTA_EXCEEDED. */
    const char* name() const noexcept { return dmabroker_code_name(code_); }

private:
    dmabroker_code code_;
};

/** Of the library that the program runs with: compare with DMABROKER_VERSION_NUMBER(major, minor, patch). */
inline std::uint32_t version() { return dmabroker_version(); }

/** What a participant will do with an image (flags). */
enum class Usage : std::uint32_t {
    none = 0,
    cpu_read = DMABROKER_USAGE_CPU_READ,
    cpu_write = DMABROKER_USAGE_CPU_WRITE,
    sample = DMABROKER_USAGE_SAMPLE,
    render = DMABROKER_USAGE_RENDER,
    storage = DMABROKER_USAGE_STORAGE,
    scanout = DMABROKER_USAGE_SCANOUT,
    encode = DMABROKER_USAGE_ENCODE
};
/** What a hold or a token allows (flags). */
enum class Rights : std::uint32_t {
    none = 0,
    read = DMABROKER_READ,
    write = DMABROKER_WRITE,
    manage = DMABROKER_MANAGE,
    all = DMABROKER_READ | DMABROKER_WRITE | DMABROKER_MANAGE
};
/** What the CPU does with pixels (flags). */
enum class Direction : std::uint32_t {
    read = DMABROKER_DIRECTION_READ,
    write = DMABROKER_DIRECTION_WRITE,
    read_write = DMABROKER_DIRECTION_READ | DMABROKER_DIRECTION_WRITE
};
constexpr std::uint32_t bits(Direction direction) { return static_cast<std::uint32_t>(direction); }
constexpr std::uint32_t bits(Usage usage) { return static_cast<std::uint32_t>(usage); }
constexpr std::uint32_t bits(Rights rights) { return static_cast<std::uint32_t>(rights); }
constexpr Usage operator|(Usage a, Usage b) { return static_cast<Usage>(bits(a) | bits(b)); }
constexpr Rights operator|(Rights a, Rights b) { return static_cast<Rights>(bits(a) | bits(b)); }
constexpr Usage operator&(Usage a, Usage b) { return static_cast<Usage>(bits(a) & bits(b)); }
constexpr Rights operator&(Rights a, Rights b) { return static_cast<Rights>(bits(a) & bits(b)); }

/** fourcc("AB24") is DRM_FORMAT_ABGR8888. */
constexpr std::uint32_t fourcc(const char (&code)[5])
{
    std::uint32_t value = 0;
    for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(code[i]);
    return value;
}

using Duration = std::chrono::nanoseconds;
/** For leases: until revoked. */
inline constexpr Duration forever = Duration::max();

struct Size {
    std::uint32_t width = 0;  /**< pixels */
    std::uint32_t height = 0; /**< pixels */
};

struct ConnectOptions {
    std::string remote{}; /**< path of the socket; empty: as dmabroker_connect says */
    std::string name{};   /**< empty: the program's */
    Duration timeout{0};  /**< for every answer; 0: 30 s */
    bool manager = false; /**< the manager socket beside it */
};

/** One who will use an image; see dmabroker_participant. */
struct Participant {
    std::string name{};
    std::string capabilities{}; /**< Capabilities::digest() of a stated table; empty: none */
    Usage usage = Usage::none;
    std::vector<std::uint32_t> formats{};   /**< best first; empty: any */
    std::vector<std::uint64_t> modifiers{}; /**< best first; empty: any */
    std::uint32_t minimum_rung = 0;         /**< enum dmabroker_rung; 0: any */
    std::uint32_t stride_alignment = 0, offset_alignment = 0;
    Size max_size{}; /**< 0: any */
    bool contiguous = false, no_external_only = false, is_protected = false;
};

struct Allocation {
    Size size{};
    std::uint32_t format = 0; /**< a DRM fourcc */
    Usage usage = Usage::none;
    std::vector<std::uint64_t> modifiers{}; /**< best first; empty: any */
    std::uint32_t backends = 0;             /**< DMABROKER_BACKEND_BIT()s; 0: any */
    std::uint32_t minimum_rung = 0;         /**< enum dmabroker_rung; 0: any */
    std::string device{};                   /**< node, name or UUID; empty: any */
    std::string label{};
    Duration lease{0};                          /**< how long it outlives its last holder */
    std::optional<dmabroker_pixels> contents{}; /**< initial pixels */
    dmabroker_colour colour{};                  /**< 0: the defaults of the format */
    std::vector<std::uint32_t> alternatives{};  /**< formats as good as `format` or nearly */
    std::vector<Participant> participants{};    /**< others who will use it */
};

struct TokenOptions {
    bool one_shot = false; /**< the first open uses it up */
    bool enforced = false; /**< readers who could not be kept from writing are refused */
    Duration lifetime{0};  /**< 0: as long as the image */
};

namespace detail {

inline std::uint64_t nanoseconds(Duration duration)
{
    return duration == forever ? DMABROKER_FOREVER : static_cast<std::uint64_t>(duration.count() < 0 ? 0 : duration.count());
}
inline const char* text_or_null(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }
template <class T> const T* data_or_null(const std::vector<T>& values) { return values.empty() ? nullptr : values.data(); }
/** Borrows from it. */
inline dmabroker_participant to_c(const Participant& participant)
{
    dmabroker_participant out = DMABROKER_PARTICIPANT_INIT;
    out.name = text_or_null(participant.name);
    out.capabilities = text_or_null(participant.capabilities);
    out.usage = bits(participant.usage);
    out.minimum_rung = participant.minimum_rung;
    out.formats = data_or_null(participant.formats);
    out.format_count = participant.formats.size();
    out.modifiers = data_or_null(participant.modifiers);
    out.modifier_count = participant.modifiers.size();
    out.stride_alignment = participant.stride_alignment;
    out.offset_alignment = participant.offset_alignment;
    out.max_width = participant.max_size.width;
    out.max_height = participant.max_size.height;
    out.contiguous = participant.contiguous;
    out.no_external_only = participant.no_external_only;
    out.is_protected = participant.is_protected;
    return out;
}

/** Borrows from it. */
struct CAllocation {
    std::vector<dmabroker_participant> participants;
    dmabroker_allocation value = DMABROKER_ALLOCATION_INIT;

    explicit CAllocation(const Allocation& allocation)
    {
        value.width = allocation.size.width;
        value.height = allocation.size.height;
        value.format = allocation.format;
        value.usage = bits(allocation.usage);
        value.modifiers = data_or_null(allocation.modifiers);
        value.modifier_count = allocation.modifiers.size();
        value.backends = allocation.backends;
        value.minimum_rung = allocation.minimum_rung;
        value.device = text_or_null(allocation.device);
        value.label = text_or_null(allocation.label);
        value.lease_ns = nanoseconds(allocation.lease);
        value.contents = allocation.contents ? &*allocation.contents : nullptr;
        value.colour = allocation.colour;
        value.alternatives = data_or_null(allocation.alternatives);
        value.alternative_count = allocation.alternatives.size();
        for (const Participant& participant : allocation.participants) participants.push_back(to_c(participant));
        value.participants = data_or_null(participants);
        value.participant_count = participants.size();
    }
    CAllocation(const CAllocation&) = delete;
    CAllocation& operator=(const CAllocation&) = delete;
};

/** Calls a C function whose last parameter is the error; throws when it fails. */
template <class Function, class... Arguments> int call(Function function, Arguments... arguments)
{
    dmabroker_error error{};
    const int result = function(arguments..., &error);
    if (result < 0) throw Error(error);
    return result;
}
/** The same for one that has a result before that. */
template <class Result, class Function, class... Arguments> Result result_of(Function function, Arguments... arguments)
{
    Result result{};
    call(function, arguments..., &result);
    return result;
}

template <class T, void (*close)(T*)> struct Closer {
    void operator()(T* object) const noexcept { close(object); }
};
template <class T, void (*close)(T*)> using Owner = std::unique_ptr<T, Closer<T, close>>;

inline std::string take_text(char* text)
{
    const std::unique_ptr<char, void (*)(void*)> owner(text, dmabroker_free);
    return text;
}

} // namespace detail

/** The pixels between a begin and an end: begun by Mapping::begin, ended by the destructor or by end(). */
class MappedBytes {
public:
    MappedBytes(MappedBytes&& other) noexcept
        : mapping_(std::exchange(other.mapping_, nullptr)), planes_(other.planes_), direction_(other.direction_)
    {
    }
    MappedBytes(const MappedBytes&) = delete;
    MappedBytes& operator=(MappedBytes) = delete;
    /** Errors of the end are lost here; call end() to see them. */
    ~MappedBytes()
    {
        if (mapping_) dmabroker_cpu_end(mapping_, bits(direction_), nullptr);
    }

    /** First byte of the plane's first row. */
    std::byte* data(std::uint32_t plane = 0) const { return static_cast<std::byte*>(dmabroker_cpu_data(mapping_, plane)); }
    /** Bytes from one row to the next. */
    std::size_t stride(std::uint32_t plane = 0) const { return planes_[plane].stride; }
    /** Row `y` of a plane as pixels of type T. */
    template <class T> T* row(std::size_t y, std::uint32_t plane = 0) const
    {
        return reinterpret_cast<T*>(data(plane) + y * stride(plane));
    }
    void end() { detail::call(dmabroker_cpu_end, std::exchange(mapping_, nullptr), bits(direction_)); }

private:
    friend class Mapping;
    MappedBytes(dmabroker_cpu_mapping* mapping, const dmabroker_plane* planes, Direction direction)
        : mapping_(mapping), planes_(planes), direction_(direction)
    {
        detail::call(dmabroker_cpu_begin, mapping, bits(direction));
    }
    dmabroker_cpu_mapping* mapping_;
    const dmabroker_plane* planes_;
    Direction direction_;
};

/** All planes in the caller's memory. Pixels are reached through MappedBytes, which must not outlive it. */
class Mapping {
public:
    /** Within what it was mapped for. Waits for pending GPU work. */
    MappedBytes begin(Direction direction) { return MappedBytes(mapping_.get(), planes_.get(), direction); }
    dmabroker_cpu_mapping* native() const noexcept { return mapping_.get(); }

private:
    friend class Image;
    Mapping(const dmabroker_image* image, Direction direction)
    {
        const dmabroker_image_info* info = dmabroker_image_get_info(image);
        planes_ = std::make_unique<dmabroker_plane[]>(DMABROKER_MAX_PLANES);
        std::copy_n(info->planes, DMABROKER_MAX_PLANES, planes_.get());
        mapping_.reset(detail::result_of<dmabroker_cpu_mapping*>(dmabroker_cpu_map, image, bits(direction)));
    }
    detail::Owner<dmabroker_cpu_mapping, dmabroker_cpu_unmap> mapping_;
    std::unique_ptr<dmabroker_plane[]> planes_; // MappedBytes point here, wherever the Mapping is moved
};

/** One hold on an image. */
class Image {
public:
    /** Takes over. */
    explicit Image(dmabroker_image* image) : image_(image) {}

    const dmabroker_image_info& info() const noexcept { return *dmabroker_image_get_info(image_.get()); }
    Size size() const noexcept { return {info().width, info().height}; }
    /** Borrowed. */
    int fd(std::uint32_t memory = 0) const noexcept { return dmabroker_image_get_fd(image_.get(), memory); }

    /** 32 hexadecimal digits that allow whoever has them to open the image. */
    std::string token(Rights rights, const TokenOptions& options = {})
    {
        dmabroker_token_options wanted = DMABROKER_TOKEN_OPTIONS_INIT;
        wanted.rights = bits(rights);
        wanted.one_shot = options.one_shot;
        wanted.enforced = options.enforced;
        wanted.lifetime_ns = detail::nanoseconds(options.lifetime);
        char text[DMABROKER_TOKEN_SIZE];
        detail::call(dmabroker_image_token, image_.get(), &wanted, text);
        return text;
    }
    /** From now; `forever`: until revoked; 0: it ends with its last holder. */
    void set_lease(Duration lease) { detail::call(dmabroker_image_set_lease, image_.get(), detail::nanoseconds(lease)); }
    /** After DMABROKER_EVENT_IMAGE_REPLACED: what replaced it. This hold stays. */
    Image open_successor() { return Image(detail::result_of<dmabroker_image*>(dmabroker_image_open_successor, image_.get())); }
    /** Of a copy: copies its source once more. Returns what that took. */
    Duration refresh()
    {
        return Duration(static_cast<Duration::rep>(detail::result_of<std::uint64_t>(dmabroker_image_refresh, image_.get())));
    }
    /** Throws where the CPU cannot read the layout. */
    Mapping map(Direction direction) const { return Mapping(image_.get(), direction); }
    /** The caller's own, null at first: it comes with the image's events. */
    void set_user_data(void* user_data) noexcept { dmabroker_image_set_user_data(image_.get(), user_data); }
    void* user_data() const noexcept { return dmabroker_image_get_user_data(image_.get()); }

    dmabroker_image* native() const noexcept { return image_.get(); }

private:
    detail::Owner<dmabroker_image, dmabroker_image_close> image_;
};

/** An image that no broker knows of; see dmabroker_image_adopt. `fds`: info.memory_count descriptors, borrowed. */
inline Image adopt(dmabroker_image_info info, const int* fds)
{
    info.struct_size = sizeof info;
    return Image(detail::result_of<dmabroker_image*>(dmabroker_image_adopt, &info, fds));
}

struct Event {
    int type = 0;                     /**< enum dmabroker_event_type */
    dmabroker_image* image = nullptr; /**< equals native() of the Image concerned; for COMPLETED see `made` */
    std::string text{};
    std::uint64_t successor = 0; /**< of DMABROKER_EVENT_IMAGE_REPLACED: the new image's id */
    std::uint64_t request = 0;   /**< and why; of DMABROKER_EVENT_COMPLETED: the negotiation */

    void* user_data = nullptr; /**< the image's; of DMABROKER_EVENT_COMPLETED as given to the start */

    // Of DMABROKER_EVENT_COMPLETED.
    std::uint64_t operation = 0; /**< equals number() of the Operation */
    int code = 0;                /**< enum dmabroker_code, 0: it succeeded */
    Duration cost{0};
    std::optional<Image> made{};

    /** Throws what the blocking form would have thrown. */
    void check() const
    {
        if (code != 0) throw Error(code, text);
    }
};

/** One that was started. Its destructor cancels it unless its completion was read; the completion comes in any case.
 *  Must not outlive its client. */
class Operation {
public:
    Operation(Operation&& other) noexcept : client_(std::exchange(other.client_, nullptr)), number_(other.number_) {}
    Operation& operator=(Operation&& other) noexcept
    {
        Operation old(std::move(*this));
        client_ = std::exchange(other.client_, nullptr);
        number_ = other.number_;
        return *this;
    }
    Operation(const Operation&) = delete;
    ~Operation() { cancel(); }

    std::uint64_t number() const noexcept { return number_; }
    /** Its completion will say DMABROKER_CANCELLED, unless it was read before. */
    void cancel() noexcept
    {
        if (client_) dmabroker_cancel(std::exchange(client_, nullptr), number_, nullptr);
    }
    /** Lets it go on without this object. */
    void detach() noexcept { client_ = nullptr; }

private:
    friend class Client;
    friend class Image;
    template <class Start, class... Arguments> Operation(dmabroker_client* client, Start start, Arguments... arguments)
    {
        detail::call(start, arguments..., &number_);
        client_ = client;
    }
    dmabroker_client* client_ = nullptr;
    std::uint64_t number_ = 0;
};

/** One connection to a broker. */
class Client {
public:
    static Client connect(const ConnectOptions& options = {})
    {
        dmabroker_connect_options wanted = DMABROKER_CONNECT_OPTIONS_INIT;
        wanted.remote = detail::text_or_null(options.remote);
        wanted.name = detail::text_or_null(options.name);
        wanted.timeout_ns = detail::nanoseconds(options.timeout);
        wanted.manager = options.manager;
        return Client(detail::result_of<dmabroker_client*>(dmabroker_connect, &wanted));
    }
    /** Over a connected SEQPACKET socket, which is taken over. */
    static Client connect_fd(int socket, const std::string& name = {})
    {
        return Client(detail::result_of<dmabroker_client*>(dmabroker_connect_fd, socket, detail::text_or_null(name)));
    }
    /** Takes over. */
    explicit Client(dmabroker_client* client) : client_(client) {}

    /** On DMABROKER_NO_BACKEND, why(last_request()) says what was tried. */
    Image allocate(const Allocation& allocation)
    {
        const detail::CAllocation wanted(allocation);
        return Image(detail::result_of<dmabroker_image*>(dmabroker_allocate, client_.get(), &wanted.value));
    }
    /** These only start it; next_event() tells its end with `user_data`. */
    Operation allocate_start(const Allocation& allocation, void* user_data = nullptr)
    {
        const detail::CAllocation wanted(allocation);
        return Operation(client_.get(), dmabroker_allocate_start, client_.get(), &wanted.value, user_data);
    }
    Operation join_start(const std::string& token, Rights rights, const Participant& participant, void* user_data = nullptr)
    {
        const dmabroker_participant wanted = detail::to_c(participant);
        return Operation(client_.get(), dmabroker_join_start, client_.get(), token.c_str(), bits(rights), &wanted, user_data);
    }
    Operation register_start(dmabroker_image_info info, const int* fds, const std::string& label = {}, Duration lease = {},
                             void* user_data = nullptr)
    {
        info.struct_size = sizeof info;
        return Operation(client_.get(), dmabroker_register_start, client_.get(), &info, fds, detail::text_or_null(label),
                         detail::nanoseconds(lease), user_data);
    }
    /** `copy` is of this client. */
    Operation refresh_start(const Image& copy, void* user_data = nullptr)
    {
        return Operation(client_.get(), dmabroker_image_refresh_start, copy.native(), user_data);
    }
    Operation manage_proofs_start(dmabroker_proof_action action, void* user_data = nullptr)
    {
        return Operation(client_.get(), dmabroker_manage_proofs_start, client_.get(), static_cast<int>(action), user_data);
    }
    /** For a GPU state the usage: without it a reader may get a descriptor that only the CPU can use. */
    Image open(const std::string& token, Rights rights = Rights::read, Usage usage = Usage::none)
    {
        return Image(
            detail::result_of<dmabroker_image*>(dmabroker_open, client_.get(), token.c_str(), bits(rights), bits(usage)));
    }
    /** As one who says what it can import; it may get a successor of the image, or a copy. */
    Image join(const std::string& token, Rights rights, const Participant& participant)
    {
        const dmabroker_participant wanted = detail::to_c(participant);
        return Image(detail::result_of<dmabroker_image*>(dmabroker_join, client_.get(), token.c_str(), bits(rights), &wanted));
    }
    /** `fds`: info.memory_count descriptors, borrowed. */
    Image register_image(dmabroker_image_info info, const int* fds, const std::string& label = {}, Duration lease = {})
    {
        info.struct_size = sizeof info;
        return Image(detail::result_of<dmabroker_image*>(dmabroker_register, client_.get(), &info, fds,
                                                         detail::text_or_null(label), detail::nanoseconds(lease)));
    }
    /** `remote_fds`: descriptor numbers of process `pid`. */
    Image register_from_process(dmabroker_image_info info, int pid, const int* remote_fds, const std::string& label = {},
                                Duration lease = {})
    {
        info.struct_size = sizeof info;
        return Image(detail::result_of<dmabroker_image*>(dmabroker_register_from_process, client_.get(), &info, pid, remote_fds,
                                                         detail::text_or_null(label), detail::nanoseconds(lease)));
    }
    void revoke_token(const std::string& token) { detail::call(dmabroker_revoke_token, client_.get(), token.c_str()); }
    void revoke_image(std::uint64_t id) { detail::call(dmabroker_revoke_image, client_.get(), id); }

    /** Of the last allocation or join; 0: nothing was negotiated. */
    std::uint64_t last_request() const noexcept { return dmabroker_last_request(client_.get()); }
    /** JSON: the decision behind a request, or behind an image if that is 0. */
    std::string why(std::uint64_t request, std::uint64_t image = 0)
    {
        return detail::take_text(detail::result_of<char*>(dmabroker_why, client_.get(), request, image));
    }
    /** For managers. */
    void manage_proofs(dmabroker_proof_action action)
    {
        detail::call(dmabroker_manage_proofs, client_.get(), static_cast<int>(action));
    }
    /** JSON: what this client may see; `id` 0: everything. */
    std::string inspect(std::uint64_t id = 0)
    {
        return detail::take_text(detail::result_of<char*>(dmabroker_inspect, client_.get(), id));
    }

    /** Readable when dispatch() or next_event() has something to do; the same as long as the client lives. Borrowed. */
    int fd() const noexcept { return dmabroker_get_fd(client_.get()); }
    /** Reads what the broker sent, without blocking. Throws when the connection is gone. */
    void dispatch() { detail::call(dmabroker_dispatch, client_.get()); }
    /** Empty when there is none left. */
    std::optional<Event> next_event()
    {
        dmabroker_event event = DMABROKER_EVENT_INIT;
        if (dmabroker_next_event(client_.get(), &event) <= 0) return std::nullopt;
        Event out{event.type,      event.image,   event.text,
                  event.successor, event.request, event.user_data,
                  event.operation, event.code,    Duration(static_cast<Duration::rep>(event.cost_ns))};
        if (event.type == DMABROKER_EVENT_COMPLETED && event.image) out.made.emplace(event.image);
        return out;
    }
    /** After the end. False: as a new client; see dmabroker_reconnect. */
    bool reconnect() { return detail::call(dmabroker_reconnect, client_.get()) > 0; }

    dmabroker_client* native() const noexcept { return client_.get(); }

private:
    detail::Owner<dmabroker_client, dmabroker_client_close> client_;
};

inline std::string to_json(const dmabroker_image_info& info)
{
    return detail::take_text(detail::result_of<char*>(dmabroker_image_to_json, &info));
}
inline dmabroker_image_info info_from_json(const std::string& json)
{
    dmabroker_image_info info = DMABROKER_IMAGE_INFO_INIT;
    detail::call(dmabroker_image_from_json, json.c_str(), &info);
    return info;
}

} // namespace dmabroker

#endif
