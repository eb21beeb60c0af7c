// SPDX-License-Identifier: MIT
// Callers that were built with another release: every function is called with every size that its structure ever had,
// as golden/abi.txt remembers them. The bytes behind that size are the caller's: a function that reads them refuses them
// (they are no zeros), one that writes them is found out. One byte less than ever was valid is refused with the reason.
#include "tests/libclient/client_fixture.hpp"

#include <array>
#include <cstring>
#include <dmabroker/capabilities.h>
#include <dmabroker/cuda.h>
#include <dmabroker/egl.h>
#include <dmabroker/gl.h>
#include <dmabroker/v4l2.h>
#ifdef HAVE_VULKAN
#include <dmabroker/vulkan.h>
#endif
#include <fstream>
#include <map>
#include <set>
#include <sstream>

namespace dmb::test {
namespace {

using Sizes = std::map<std::string, std::vector<std::size_t>>;

Sizes golden_sizes()
{
    Sizes all;
    std::ifstream file(GOLDEN_ABI);
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string kind, name, size, sizes;
        if (!(words >> kind >> name >> size >> sizes) || kind != "struct") continue;
        for (std::size_t each; words >> each;) all[name].push_back(each);
    }
    return all;
}

/// "dmabroker_egl_import dmabroker_egl" for every function and every structure with a size that it takes.
std::set<std::string> golden_uses(const Sizes& sizes)
{
    std::set<std::string> all;
    std::ifstream file(GOLDEN_ABI);
    for (std::string line; std::getline(file, line);) {
        if (line.rfind("function ", 0) != 0) continue;
        const std::size_t open = line.find('(');
        const std::string name = line.substr(line.rfind("dmabroker_", open), open - line.rfind("dmabroker_", open));
        for (const auto& [structure, known] : sizes)
            if (line.find(structure + "*", open) != std::string::npos && line.find(structure + "**") == std::string::npos)
                all.insert(name + " " + structure);
    }
    return all;
}

/// A structure of the caller's: `size` bytes of zeros, and behind them another variable.
class Caller {
public:
    explicit Caller(std::size_t size) : size_(size)
    {
        bytes_.fill(poison);
        std::memset(bytes_.data(), 0, size);
        std::memcpy(bytes_.data(), &size, sizeof size);
    }
    template <class T> T* as() { return reinterpret_cast<T*>(bytes_.data()); }
    /// As much of `known` as it has room for.
    template <class T> T* with(const T& known)
    {
        std::memcpy(bytes_.data() + sizeof size_, reinterpret_cast<const char*>(&known) + sizeof size_,
                    std::min(size_, sizeof known) - sizeof size_);
        return as<T>();
    }
    bool kept_the_rest() const
    {
        return std::all_of(bytes_.begin() + static_cast<std::ptrdiff_t>(size_), bytes_.end(),
                           [](unsigned char byte) { return byte == poison; });
    }

private:
    static constexpr unsigned char poison = 0xa5;
    alignas(16) std::array<unsigned char, 1024> bytes_;
    std::size_t size_;
};

/// Every function of every GPU API: it does nothing, is counted, and says 0.
int calls_of_the_driver = 0;
long driver_function() { return ++calls_of_the_driver, 0; }
dmabroker_proc any_function(const char*) { return reinterpret_cast<dmabroker_proc>(driver_function); }

#ifdef HAVE_VULKAN
PFN_vkVoidFunction vulkan_device_function(VkDevice, const char*)
{
    return reinterpret_cast<PFN_vkVoidFunction>(driver_function);
}
PFN_vkVoidFunction vulkan_function(VkInstance, const char* name)
{
    if (std::string_view(name) == "vkGetDeviceProcAddr") return reinterpret_cast<PFN_vkVoidFunction>(vulkan_device_function);
    return reinterpret_cast<PFN_vkVoidFunction>(driver_function);
}
#endif

class OlderCallersTest : public ClientTest {
protected:
    /// With structures of this size. What it says is in error_.
    using Call = std::function<void(Caller&)>;
    std::map<std::string, Call> calls();
    void add_gl(std::map<std::string, Call>&);
    void add_vulkan(std::map<std::string, Call>&);

    dmabroker_image_info info_of(std::uint32_t kind) const
    {
        dmabroker_image_info info = small_info();
        info.struct_size = sizeof info;
        info.kind = kind;
        if (kind == DMABROKER_OPAQUE) info.plane_count = 0, info.modifier = DMABROKER_MODIFIER_INVALID;
        info.device_uuid[0] = 1; // not the driver's below
        return info;
    }
    dmabroker_image_info buffer_info(std::uint32_t kind) const
    {
        dmabroker_image_info info = info_of(kind);
        info.format = DMABROKER_FORMAT_BUFFER;
        info.width = info.planes[0].stride = 1024;
        info.height = 1;
        return info;
    }
    static dmabroker_egl display()
    {
        dmabroker_egl egl = DMABROKER_EGL_INIT;
        egl.display = &calls_of_the_driver;
        egl.get_proc = any_function;
        return egl;
    }
    static void refuse_all(Peer& peer)
    {
        peer.greet();
        try {
            for (;;) {
                const std::uint64_t serial = peer.next().serial;
                peer.send(wire::ErrorReply{Errc::denied, "refused", {}}, serial);
            }
        } catch (const std::exception&) {
            // the client is gone
        }
    }
    /// Whether the last call found fault with the structure's size, or with what is behind it.
    bool complained() const
    {
        const std::string text = error_.text;
        return text.find("struct_size") != std::string::npos || text.find("is set: this release") != std::string::npos;
    }

    UniqueFd memory_ = sealed_memfd(small_desc.memories[0].size);
    int fd_ = memory_.get();
    FakeBroker broker_{refuse_all};
    dmabroker::Client client_ = broker_.connect();
    dmabroker_client* c_ = client_.native();
    dmabroker::Image picture_ = dmabroker::adopt(info_of(DMABROKER_MEMFD), &fd_);
    dmabroker::Image opaque_ = dmabroker::adopt(info_of(DMABROKER_OPAQUE), &fd_);
    dmabroker::Image buffer_ = dmabroker::adopt(buffer_info(DMABROKER_MEMFD), &fd_);
    dmabroker::Image opaque_buffer_ = dmabroker::adopt(buffer_info(DMABROKER_OPAQUE), &fd_);
    dmabroker_image* made_ = nullptr;
    dmabroker_error error_{};
};

std::map<std::string, OlderCallersTest::Call> OlderCallersTest::calls()
{
    const auto info = [this](Caller& caller) { return caller.with(info_of(DMABROKER_MEMFD)); };
    const auto allocation = [](Caller& caller) {
        dmabroker_allocation known = DMABROKER_ALLOCATION_INIT;
        known.width = known.height = 16;
        known.format = small_image.format;
        return caller.with(known);
    };
    constexpr const char* token = some_token;
    std::map<std::string, Call> all{
        {"dmabroker_connect dmabroker_connect_options",
         [this](Caller& caller) {
             caller.as<dmabroker_connect_options>()->remote = "/nonexistent";
             dmabroker_client* none = nullptr;
             dmabroker_connect(caller.as<dmabroker_connect_options>(), &none, &error_);
         }},
        {"dmabroker_next_event dmabroker_event",
         [this](Caller& caller) {
             if (dmabroker_next_event(c_, caller.as<dmabroker_event>()) < 0) std::strcpy(error_.text, "struct_size");
         }},
        {"dmabroker_allocate dmabroker_allocation",
         [=, this](Caller& caller) { dmabroker_allocate(c_, allocation(caller), &made_, &error_); }},
        {"dmabroker_allocate_start dmabroker_allocation",
         [=, this](Caller& caller) { dmabroker_allocate_start(c_, allocation(caller), nullptr, nullptr, &error_); }},
        {"dmabroker_join dmabroker_participant",
         [this](Caller& caller) {
             dmabroker_join(c_, token, DMABROKER_READ, caller.as<dmabroker_participant>(), &made_, &error_);
         }},
        {"dmabroker_join_start dmabroker_participant",
         [this](Caller& caller) {
             dmabroker_join_start(c_, token, DMABROKER_READ, caller.as<dmabroker_participant>(), nullptr, nullptr, &error_);
         }},
        {"dmabroker_register dmabroker_image_info",
         [=, this](Caller& caller) { dmabroker_register(c_, info(caller), &fd_, nullptr, 0, &made_, &error_); }},
        {"dmabroker_register_start dmabroker_image_info",
         [=, this](Caller& caller) {
             dmabroker_register_start(c_, info(caller), &fd_, nullptr, 0, nullptr, nullptr, &error_);
         }},
        {"dmabroker_register_from_process dmabroker_image_info",
         [=, this](Caller& caller) {
             dmabroker_register_from_process(c_, info(caller), -1, &fd_, nullptr, 0, &made_, &error_);
         }},
        {"dmabroker_image_adopt dmabroker_image_info",
         [=, this](Caller& caller) {
             dmabroker_image* image = nullptr;
             dmabroker_image_adopt(info(caller), &fd_, &image, &error_);
             dmabroker_image_close(image);
         }},
        {"dmabroker_image_to_json dmabroker_image_info",
         [=, this](Caller& caller) {
             char* json = nullptr;
             dmabroker_image_to_json(info(caller), &json, &error_);
             dmabroker_free(json);
         }},
        {"dmabroker_image_from_json dmabroker_image_info",
         [this](Caller& caller) {
             const std::string json = dmabroker::to_json(picture_.info());
             dmabroker_image_from_json(json.c_str(), caller.as<dmabroker_image_info>(), &error_);
         }},
        {"dmabroker_image_token dmabroker_token_options",
         [this](Caller& caller) {
             char text[DMABROKER_TOKEN_SIZE];
             dmabroker_image_token(picture_.native(), caller.as<dmabroker_token_options>(), text, &error_);
         }},
        {"dmabroker_capabilities_create dmabroker_capability_table",
         [this](Caller& caller) {
             dmabroker_capabilities* table = nullptr;
             dmabroker_capabilities_create(caller.as<dmabroker_capability_table>(), &table, &error_);
             dmabroker_capabilities_free(table);
         }},
        {"dmabroker_v4l2_export dmabroker_v4l2_source",
         [this](Caller& caller) { dmabroker_v4l2_export(c_, caller.as<dmabroker_v4l2_source>(), nullptr, &made_, &error_); }},
        {"dmabroker_v4l2_export dmabroker_export_options",
         [this](Caller& caller) {
             const dmabroker_v4l2_source source = DMABROKER_V4L2_SOURCE_INIT;
             dmabroker_v4l2_export(c_, &source, caller.as<dmabroker_export_options>(), &made_, &error_);
         }},
        {"dmabroker_v4l2_describe dmabroker_image_info",
         [=, this](Caller& caller) {
             dmabroker_v4l2_colour colour;
             dmabroker_v4l2_describe(info(caller), &colour, &error_);
         }},
    };
    add_gl(all);
    add_vulkan(all);
    return all;
}

/// What a release found fault with it cannot say: it shows in that nothing was destroyed.
template <class Release> void release(Release&& release, dmabroker_error& error)
{
    calls_of_the_driver = 0;
    release();
    if (calls_of_the_driver == 0) std::strcpy(error.text, "struct_size");
}

void OlderCallersTest::add_gl(std::map<std::string, Call>& all)
{
    const auto egl = [](Caller& caller) { return caller.with(display()); };
    const auto images = [](Caller& caller) {
        dmabroker_egl_images known = DMABROKER_EGL_IMAGES_INIT;
        known.count = 1;
        return caller.with(known);
    };
    all["dmabroker_egl_capabilities dmabroker_egl"] = [=, this](Caller& caller) {
        dmabroker_capabilities* table = nullptr;
        dmabroker_egl_capabilities(egl(caller), &table, &error_);
    };
    all["dmabroker_egl_import dmabroker_egl"] = [=, this](Caller& caller) {
        dmabroker_egl_images out = DMABROKER_EGL_IMAGES_INIT;
        dmabroker_egl_import(picture_.native(), egl(caller), 0, &out, &error_);
    };
    all["dmabroker_egl_import dmabroker_egl_images"] = [this](Caller& caller) {
        const dmabroker_egl known = display();
        dmabroker_egl_import(picture_.native(), &known, 0, caller.as<dmabroker_egl_images>(), &error_);
    };
    all["dmabroker_egl_texture dmabroker_egl"] = [=, this](Caller& caller) {
        dmabroker_egl_images known = DMABROKER_EGL_IMAGES_INIT;
        std::uint32_t texture = 0, target = 0;
        known.count = 1;
        dmabroker_egl_texture(egl(caller), &known, 0, &texture, &target, &error_);
    };
    all["dmabroker_egl_texture dmabroker_egl_images"] = [=, this](Caller& caller) {
        const dmabroker_egl known = display();
        std::uint32_t texture = 0, target = 0;
        dmabroker_egl_texture(&known, images(caller), 0, &texture, &target, &error_);
    };
    all["dmabroker_egl_release dmabroker_egl"] = [=, this](Caller& caller) {
        dmabroker_egl_images known = DMABROKER_EGL_IMAGES_INIT;
        known.count = 1;
        release([&] { dmabroker_egl_release(egl(caller), &known); }, error_);
    };
    all["dmabroker_egl_release dmabroker_egl_images"] = [=, this](Caller& caller) {
        const dmabroker_egl known = display();
        release([&] { dmabroker_egl_release(&known, images(caller)); }, error_);
    };
    all["dmabroker_egl_export dmabroker_egl"] = [=, this](Caller& caller) {
        const dmabroker_egl_source source = DMABROKER_EGL_SOURCE_INIT;
        dmabroker_egl_export(c_, egl(caller), &source, nullptr, &made_, &error_);
    };
    all["dmabroker_egl_export dmabroker_egl_source"] = [this](Caller& caller) {
        const dmabroker_egl known = display();
        dmabroker_egl_export(c_, &known, caller.as<dmabroker_egl_source>(), nullptr, &made_, &error_);
    };
    all["dmabroker_egl_export dmabroker_export_options"] = [this](Caller& caller) {
        const dmabroker_egl known = display();
        const dmabroker_egl_source source = DMABROKER_EGL_SOURCE_INIT;
        dmabroker_egl_export(c_, &known, &source, caller.as<dmabroker_export_options>(), &made_, &error_);
    };
    all["dmabroker_cuda_import dmabroker_cuda_array"] = [this](Caller& caller) {
        dmabroker_cuda_import(opaque_.native(), any_function, 0, caller.as<dmabroker_cuda_array>(), &error_);
    };
    all["dmabroker_cuda_release dmabroker_cuda_array"] = [this](Caller& caller) {
        caller.as<dmabroker_cuda_array>()->memory = &calls_of_the_driver;
        release([&] { dmabroker_cuda_release(any_function, caller.as<dmabroker_cuda_array>()); }, error_);
    };
    all["dmabroker_cuda_import_buffer dmabroker_cuda_buffer"] = [this](Caller& caller) {
        dmabroker_cuda_import_buffer(opaque_buffer_.native(), any_function, 0, caller.as<dmabroker_cuda_buffer>(), &error_);
    };
    all["dmabroker_cuda_release_buffer dmabroker_cuda_buffer"] = [this](Caller& caller) {
        caller.as<dmabroker_cuda_buffer>()->memory = &calls_of_the_driver;
        release([&] { dmabroker_cuda_release_buffer(any_function, caller.as<dmabroker_cuda_buffer>()); }, error_);
    };
    all["dmabroker_gl_import dmabroker_gl_texture"] = [this](Caller& caller) {
        dmabroker_gl_import(opaque_.native(), any_function, 0, caller.as<dmabroker_gl_texture>(), &error_);
    };
    all["dmabroker_gl_release dmabroker_gl_texture"] = [this](Caller& caller) {
        caller.as<dmabroker_gl_texture>()->memory = 1;
        release([&] { dmabroker_gl_release(any_function, caller.as<dmabroker_gl_texture>()); }, error_);
    };
    all["dmabroker_gl_import_buffer dmabroker_gl_buffer"] = [this](Caller& caller) {
        dmabroker_gl_import_buffer(opaque_buffer_.native(), any_function, 0, caller.as<dmabroker_gl_buffer>(), &error_);
    };
    all["dmabroker_gl_release_buffer dmabroker_gl_buffer"] = [this](Caller& caller) {
        caller.as<dmabroker_gl_buffer>()->memory = 1;
        release([&] { dmabroker_gl_release_buffer(any_function, caller.as<dmabroker_gl_buffer>()); }, error_);
    };
}

#ifdef HAVE_VULKAN
template <class Handle> Handle some_handle() { return reinterpret_cast<Handle>(std::uintptr_t{1}); }

dmabroker_vulkan some_device()
{
    dmabroker_vulkan vulkan = DMABROKER_VULKAN_INIT;
    vulkan.instance = some_handle<VkInstance>();
    vulkan.physical_device = some_handle<VkPhysicalDevice>();
    vulkan.device = some_handle<VkDevice>();
    vulkan.get_instance_proc_addr = vulkan_function;
    return vulkan;
}

dmabroker_vulkan_source some_source()
{
    dmabroker_vulkan_source source = DMABROKER_VULKAN_SOURCE_INIT;
    source.image = some_handle<VkImage>();
    source.memory = some_handle<VkDeviceMemory>();
    source.tiling = VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT;
    source.format = VK_FORMAT_R8G8B8A8_UNORM;
    return source;
}

void OlderCallersTest::add_vulkan(std::map<std::string, Call>& all)
{
    static const dmabroker_vulkan known = some_device();
    const auto vulkan = [](Caller& caller) { return caller.with(some_device()); };
    all["dmabroker_vulkan_capabilities dmabroker_vulkan"] = [=, this](Caller& caller) {
        dmabroker_capabilities* table = nullptr;
        dmabroker_vulkan_capabilities(vulkan(caller), &table, &error_);
        dmabroker_capabilities_free(table);
    };
    all["dmabroker_vulkan_import dmabroker_vulkan"] = [=, this](Caller& caller) {
        dmabroker_vulkan_images out = DMABROKER_VULKAN_IMAGES_INIT;
        dmabroker_vulkan_import(picture_.native(), vulkan(caller), 0, 0, &out, &error_);
    };
    all["dmabroker_vulkan_import dmabroker_vulkan_images"] = [this](Caller& caller) {
        dmabroker_vulkan_import(picture_.native(), &known, 0, 0, caller.as<dmabroker_vulkan_images>(), &error_);
    };
    all["dmabroker_vulkan_release dmabroker_vulkan"] = [=, this](Caller& caller) {
        dmabroker_vulkan_images images = DMABROKER_VULKAN_IMAGES_INIT;
        images.count = 1;
        release([&] { dmabroker_vulkan_release(vulkan(caller), &images); }, error_);
    };
    all["dmabroker_vulkan_release dmabroker_vulkan_images"] = [this](Caller& caller) {
        caller.as<dmabroker_vulkan_images>()->count = 1;
        release([&] { dmabroker_vulkan_release(&known, caller.as<dmabroker_vulkan_images>()); }, error_);
    };
    all["dmabroker_vulkan_import_buffer dmabroker_vulkan"] = [=, this](Caller& caller) {
        dmabroker_vulkan_buffer out = DMABROKER_VULKAN_BUFFER_INIT;
        dmabroker_vulkan_import_buffer(buffer_.native(), vulkan(caller), 0, 0, &out, &error_);
    };
    all["dmabroker_vulkan_import_buffer dmabroker_vulkan_buffer"] = [this](Caller& caller) {
        dmabroker_vulkan_import_buffer(buffer_.native(), &known, 0, 0, caller.as<dmabroker_vulkan_buffer>(), &error_);
    };
    all["dmabroker_vulkan_release_buffer dmabroker_vulkan"] = [=, this](Caller& caller) {
        dmabroker_vulkan_buffer buffer = DMABROKER_VULKAN_BUFFER_INIT;
        release([&] { dmabroker_vulkan_release_buffer(vulkan(caller), &buffer); }, error_);
    };
    all["dmabroker_vulkan_release_buffer dmabroker_vulkan_buffer"] = [this](Caller& caller) {
        release([&] { dmabroker_vulkan_release_buffer(&known, caller.as<dmabroker_vulkan_buffer>()); }, error_);
    };
    all["dmabroker_vulkan_export dmabroker_vulkan"] = [=, this](Caller& caller) {
        const dmabroker_vulkan_source from = some_source();
        dmabroker_vulkan_export(c_, vulkan(caller), &from, nullptr, &made_, &error_);
    };
    all["dmabroker_vulkan_export dmabroker_vulkan_source"] = [=, this](Caller& caller) {
        dmabroker_vulkan_export(c_, &known, caller.with(some_source()), nullptr, &made_, &error_);
    };
    all["dmabroker_vulkan_export dmabroker_export_options"] = [=, this](Caller& caller) {
        const dmabroker_vulkan_source from = some_source();
        dmabroker_vulkan_export(c_, &known, &from, caller.as<dmabroker_export_options>(), &made_, &error_);
    };
}
#else
void OlderCallersTest::add_vulkan(std::map<std::string, Call>&) {}
#endif

TEST_F(OlderCallersTest, every_size_that_ever_was_is_taken_by_every_function)
{
    const Sizes sizes = golden_sizes();
    for (const auto& [name, call] : calls())
        for (const std::size_t size : sizes.at(name.substr(name.find(' ') + 1))) {
            Caller caller(size);
            error_ = {};
            call(caller);
            EXPECT_FALSE(complained()) << name << " of " << size << " bytes: " << error_.text;
            EXPECT_TRUE(caller.kept_the_rest()) << name << " of " << size << " bytes wrote behind its end";
        }
}

TEST_F(OlderCallersTest, a_size_that_never_was_is_refused_by_every_function)
{
    const Sizes sizes = golden_sizes();
    for (const auto& [name, call] : calls()) {
        Caller caller(sizes.at(name.substr(name.find(' ') + 1)).front() - 1);
        error_ = {};
        call(caller);
        EXPECT_TRUE(complained()) << name << ": " << error_.text;
    }
}

TEST_F(OlderCallersTest, every_function_that_takes_such_a_structure_was_called)
{
    std::set<std::string> called;
    for (const auto& [name, call] : calls()) called.insert(name);
    for (const std::string& use : golden_uses(golden_sizes())) {
#ifndef HAVE_VULKAN
        if (use.find("vulkan") != std::string::npos) continue;
#endif
        EXPECT_TRUE(called.count(use)) << use;
    }
}

} // namespace
} // namespace dmb::test
