// SPDX-License-Identifier: MIT
// A child starts its driver with the first image, so that a driver that cannot start is an answer, not
// a missing child. The exporter looks at its image through the CPU where the memory can be mapped, else
// through the API that allocated it.
#include "tests/drm/matrix/roles.hpp"

#include "tests/drm/matrix/way.hpp"

#include <cstring>
#include <fmt/core.h>
#include <stdexcept>

namespace dmb::matrix {
namespace {

constexpr std::uint32_t cpu = DMABROKER_USAGE_CPU_READ | DMABROKER_USAGE_CPU_WRITE;
constexpr std::uint32_t gpu = DMABROKER_USAGE_SAMPLE | DMABROKER_USAGE_RENDER;

Words answer(const Outcome& outcome)
{
    const char* kinds[] = {"pass", "refused", "failed"};
    return {kinds[outcome.kind], outcome.text};
}

/// Whatever a role throws is an answer too.
template <class Body> Words guarded(Body body)
{
    try {
        return body();
    } catch (const std::exception& e) {
        return {"failed", e.what()};
    }
}

unsigned number(const std::string& word) { return static_cast<unsigned>(std::stoul(word)); }

/// format width height seed, from `at` on.
Pixels pattern(const Words& words, std::size_t at)
{
    return make_pattern(FourCC{number(words.at(at))}, {number(words.at(at + 1)), number(words.at(at + 2))},
                        number(words.at(at + 3)));
}

class Connection {
public:
    Connection(const std::string& socket, const char* name)
    {
        dmabroker_connect_options options = DMABROKER_CONNECT_OPTIONS_INIT;
        options.remote = socket.c_str();
        options.name = name;
        options.timeout_ns = 120'000'000'000;
        dmabroker_error error{};
        if (dmabroker_connect(&options, &client_, &error) < 0) throw std::runtime_error(error.text);
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection()
    {
        close();
        dmabroker_client_close(client_);
    }
    void close()
    {
        dmabroker_image_close(image);
        image = nullptr;
    }
    dmabroker_client* client() { return client_; }
    dmabroker_image* image = nullptr;

private:
    dmabroker_client* client_ = nullptr;
};

class Exporter {
public:
    Exporter(std::string backend, std::string node, const std::string& socket)
        : backend_(std::move(backend)), node_(std::move(node)), connection_(socket, "matrix exporter")
    {
    }

    Words operator()(const Words& question)
    {
        return guarded([&]() -> Words {
            if (question[0] == "alloc") return allocate(pattern(question, 1));
            if (question[0] == "verify") return answer(way().verify(connection_.image, pattern(question, 1)));
            connection_.close();
            return {"pass", ""};
        });
    }

private:
    /// From the most to the least that can be asked for; formats and devices differ.
    std::vector<std::uint32_t> usages() const
    {
        if (backend_ == "vulkan_opaque") return {gpu, DMABROKER_USAGE_SAMPLE, 0};
        std::vector<std::uint32_t> out{cpu | gpu, cpu | DMABROKER_USAGE_SAMPLE, cpu};
        if (backend_ == "gbm") out.insert(out.end(), {gpu, DMABROKER_USAGE_SAMPLE});
        return out;
    }

    /// Nobody has this format here; or Vulkan, whose images of it have even sizes only.
    static bool cannot_exist(const dmabroker_error& error)
    {
        return error.code == DMABROKER_NO_BACKEND ||
               (error.code == DMABROKER_BACKEND_FAILED && std::strstr(error.text, "of odd size"));
    }

    Words allocate(const Pixels& pixels)
    {
        connection_.close();
        dmabroker_error error{};
        for (const std::uint32_t usage : usages())
            if (try_allocate(pixels, usage, error)) break;
        if (!connection_.image) return {cannot_exist(error) ? "none" : "failed", error.text};
        const dmabroker_image_info& info = *dmabroker_image_get_info(connection_.image);
        if (needs_fill(info)) {
            const Outcome filled = way().fill(connection_.image, pixels);
            if (filled.kind != Outcome::pass) return {"failed", "exporter cannot write its own image: " + filled.text};
        }
        return hand_out();
    }

    bool try_allocate(const Pixels& pixels, std::uint32_t usage, dmabroker_error& error)
    {
        dmabroker_pixels contents{};
        for (std::size_t p = 0; p < pixels.planes.size(); ++p) contents.data[p] = pixels.planes[p].data();
        dmabroker_allocation request = DMABROKER_ALLOCATION_INIT;
        request.width = pixels.size.width;
        request.height = pixels.size.height;
        request.format = pixels.format.value;
        request.usage = usage;
        request.backends = DMABROKER_BACKEND_BIT(static_cast<unsigned>(*parse_backend(backend_)));
        request.device = node_.empty() ? nullptr : node_.c_str();
        // What nobody can map is filled by the worker that allocates it.
        if (backend_ == "gbm" && !(usage & cpu)) request.contents = &contents;
        return dmabroker_allocate(connection_.client(), &request, &connection_.image, &error) == 0;
    }

    bool needs_fill(const dmabroker_image_info& info) const { return backend_ != "gbm" || (info.usage & cpu); }

    Words hand_out()
    {
        dmabroker_token_options options{};
        options.struct_size = sizeof options;
        options.rights = DMABROKER_READ | DMABROKER_WRITE;
        char token[DMABROKER_TOKEN_SIZE];
        dmabroker_error error{};
        if (dmabroker_image_token(connection_.image, &options, token, &error) < 0) return {"failed", error.text};
        return {"pass", "", token};
    }

    /// How this process sees its own pixels.
    Way& way()
    {
        const dmabroker_image_info& info = *dmabroker_image_get_info(connection_.image);
        std::unique_ptr<Way>& chosen = info.usage & cpu ? cpu_ : native_;
        if (chosen) return *chosen;
        if (info.usage & cpu) chosen = make_cpu_way();
        else chosen = backend_ == "gbm" ? make_egl_way(node_) : make_vulkan_way();
        return *chosen;
    }

    std::string backend_, node_;
    std::unique_ptr<Way> cpu_, native_;
    Connection connection_;
};

std::unique_ptr<Way> make_way(const std::string& api, const std::string& node)
{
    if (api == "cpu") return make_cpu_way();
    if (api == "vulkan") return make_vulkan_way();
    if (api == "gl") return make_gl_way();
    return make_egl_way(api == "egl_gbm" ? node : "");
}

class Importer {
public:
    Importer(std::string api, std::string node, const std::string& socket)
        : api_(std::move(api)), node_(std::move(node)), connection_(socket, "matrix importer")
    {
    }

    Words operator()(const Words& question)
    {
        return guarded([&]() -> Words {
            if (!way_) way_ = make_way(api_, node_);
            if (question[0] == "read") return read(question);
            if (question[0] == "write") return answer(way_->fill(connection_.image, pattern(question, 1)));
            connection_.close();
            return {"pass", ""};
        });
    }

private:
    Words read(const Words& question)
    {
        connection_.close();
        dmabroker_error error{};
        const std::uint32_t usage = api_ == "cpu" ? cpu : gpu;
        if (dmabroker_open(connection_.client(), question.at(1).c_str(), DMABROKER_READ | DMABROKER_WRITE, usage,
                           &connection_.image, &error) < 0)
            return {"failed", fmt::format("open: {}", error.text)};
        return answer(way_->verify(connection_.image, pattern(question, 2)));
    }

    std::string api_, node_;
    std::unique_ptr<Way> way_;
    Connection connection_;
};

} // namespace

int run_exporter(const std::string& backend, const std::string& node, const std::string& socket)
{
    serve(Exporter(backend, node, socket));
    return 0;
}

int run_importer(const std::string& api, const std::string& node, const std::string& socket)
{
    serve(Importer(api, node, socket));
    return 0;
}

} // namespace dmb::matrix
