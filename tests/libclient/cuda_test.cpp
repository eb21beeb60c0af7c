// SPDX-License-Identifier: MIT
// What CUDA is handed, told by a driver that only takes notes: there is none on the machines where this runs. The real one
// is tried by tests/drm/opaque_paths, where there is a GPU of NVIDIA.
#include "tests/libclient/client_fixture.hpp"

#include <cstring>
#include <dmabroker/cuda.hpp>
#include <fcntl.h>
#include <map>
#include <sys/stat.h>
#include <unistd.h>

namespace dmb::test {
namespace {

using dmabroker::Image;

/// As in CUDA's documentation; written once more, so that a mistake shows.
struct ExternalMemoryHandleDesc {
    int type;
    union {
        int fd;
        struct {
            void* handle;
            const void* name;
        } win32;
        const void* nv_sci_buf_object;
    } handle;
    unsigned long long size;
    unsigned flags;
    unsigned reserved[16];
};
struct MipmappedArrayDesc {
    unsigned long long offset;
    struct {
        std::size_t width, height, depth;
        int format;
        unsigned channels, flags;
    } array;
    unsigned levels;
    unsigned reserved[16];
};
struct BufferDesc {
    unsigned long long offset, size;
    unsigned flags;
    unsigned reserved[16];
};

struct Notes {
    std::uint8_t uuid[16] = {7};
    int import_result = 0, map_result = 0;
    ino_t memory = 0; ///< what the descriptor was of
    ExternalMemoryHandleDesc handle{};
    MipmappedArrayDesc array{};
    BufferDesc buffer{};
    int alive = 0; ///< objects that were made and not destroyed
} notes;

int current_device(int* device) { return *device = 3, 0; }
int device_uuid(std::uint8_t* uuid, int device)
{
    EXPECT_EQ(device, 3);
    std::memcpy(uuid, notes.uuid, 16);
    return 0;
}
int error_name(int, const char** name) { return *name = "CUDA_ERROR_INVALID_VALUE", 0; }
int import_memory(void** memory, const ExternalMemoryHandleDesc* handle)
{
    struct stat status{};
    notes.handle = *handle;
    if (notes.import_result) return notes.import_result;
    EXPECT_EQ(::fstat(handle->handle.fd, &status), 0);
    EXPECT_TRUE(::fcntl(handle->handle.fd, F_GETFD) & FD_CLOEXEC);
    notes.memory = status.st_ino;
    ::close(handle->handle.fd); // its own from now
    *memory = &notes.handle;
    return ++notes.alive, 0;
}
int destroy(void*) { return --notes.alive, 0; }
int map_array(void** levels, void* memory, const MipmappedArrayDesc* array)
{
    EXPECT_EQ(memory, &notes.handle);
    notes.array = *array;
    if (notes.map_result) return notes.map_result;
    *levels = &notes.array;
    return ++notes.alive, 0;
}
int get_level(void** array, void* levels, unsigned level)
{
    EXPECT_EQ(levels, &notes.array);
    EXPECT_EQ(level, 0u);
    *array = &notes.array.array;
    return 0;
}
int map_buffer(unsigned long long* address, void* memory, const BufferDesc* buffer)
{
    EXPECT_EQ(memory, &notes.handle);
    notes.buffer = *buffer;
    *address = 0x7000;
    return ++notes.alive, 0;
}
int free_address(unsigned long long address)
{
    EXPECT_EQ(address, 0x7000u);
    return --notes.alive, 0;
}

template <class F> dmabroker_proc proc(F* function) { return reinterpret_cast<dmabroker_proc>(function); }

dmabroker_proc find(const char* name)
{
    static const std::map<std::string, dmabroker_proc> all{{"cuCtxGetDevice", proc(current_device)},
                                                           {"cuDeviceGetUuid", proc(device_uuid)},
                                                           {"cuGetErrorName", proc(error_name)},
                                                           {"cuImportExternalMemory", proc(import_memory)},
                                                           {"cuDestroyExternalMemory", proc(destroy)},
                                                           {"cuExternalMemoryGetMappedMipmappedArray", proc(map_array)},
                                                           {"cuMipmappedArrayDestroy", proc(destroy)},
                                                           {"cuMipmappedArrayGetLevel", proc(get_level)},
                                                           {"cuExternalMemoryGetMappedBuffer", proc(map_buffer)},
                                                           {"cuMemFree_v2", proc(free_address)}};
    const auto found = all.find(name);
    return found == all.end() ? nullptr : found->second;
}
dmabroker_proc find_nothing(const char*) { return nullptr; }

class CudaTest : public ClientTest {
protected:
    CudaTest() { notes = {}; }

    dmabroker_image_info opaque(const char (&format)[5] = "AB24") const
    {
        dmabroker_image_info info = DMABROKER_IMAGE_INFO_INIT;
        info.width = 32;
        info.height = 16;
        info.format = dmabroker::fourcc(format);
        info.modifier = DMABROKER_MODIFIER_INVALID;
        info.kind = DMABROKER_OPAQUE;
        info.memory_count = 1;
        info.memory_size[0] = 65536;
        info.device_uuid[0] = 7;
        info.vk_usage = 16; // VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT
        info.optimal_tiling = info.dedicated = 1;
        return info;
    }
    dmabroker_image_info opaque_buffer() const
    {
        dmabroker_image_info info = opaque();
        info.format = DMABROKER_FORMAT_BUFFER;
        info.width = 5000;
        info.height = 1;
        return info;
    }
    Image adopted(const dmabroker_image_info& info) const
    {
        const int fd = memory_.get();
        return dmabroker::adopt(info, &fd);
    }
    int refused(const dmabroker_image_info& info, std::uint32_t flags = 0, dmabroker_get_proc get = find) const
    {
        const Image image = adopted(info);
        return code_of([&] { dmabroker::cuda::import(image, get, flags); });
    }
    ino_t inode() const
    {
        struct stat status{};
        return ::fstat(memory_.get(), &status), status.st_ino;
    }

    UniqueFd memory_ = sealed_memfd(65536);
};

TEST_F(CudaTest, an_image_becomes_an_array_over_its_own_memory)
{
    {
        const Image image = adopted(opaque());
        const auto array = dmabroker::cuda::import(image, find);
        EXPECT_EQ(array->memory, &notes.handle);
        EXPECT_EQ(array->levels, &notes.array);
        EXPECT_EQ(array->array, &notes.array.array);
        EXPECT_EQ(notes.memory, inode());
        EXPECT_EQ(notes.handle.type, 1) << "CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD";
        EXPECT_EQ(notes.handle.size, 65536u);
        EXPECT_EQ(notes.handle.flags, 1u) << "CUDA_EXTERNAL_MEMORY_DEDICATED";
        EXPECT_EQ(notes.array.levels, 1u);
        EXPECT_EQ(notes.array.array.width, 32u);
        EXPECT_EQ(notes.array.array.height, 16u);
        EXPECT_EQ(notes.array.array.depth, 0u);
        EXPECT_EQ(notes.array.array.format, 1) << "CU_AD_FORMAT_UNSIGNED_INT8";
        EXPECT_EQ(notes.array.array.channels, 4u);
        EXPECT_EQ(notes.array.array.flags, 32u) << "CUDA_ARRAY3D_COLOR_ATTACHMENT";
        EXPECT_EQ(notes.alive, 2);
    }
    EXPECT_EQ(notes.alive, 0) << "released with its owner";
}

TEST_F(CudaTest, the_array_has_the_channels_of_the_format)
{
    EXPECT_EQ(refused(opaque("AB4H")), 0);
    EXPECT_EQ(notes.array.array.format, 16) << "CU_AD_FORMAT_HALF";
    EXPECT_EQ(refused(opaque("GR32")), 0);
    EXPECT_EQ(notes.array.array.format, 2) << "CU_AD_FORMAT_UNSIGNED_INT16";
    EXPECT_EQ(notes.array.array.channels, 2u);
    for (const auto& format : {"XR30", "RG16", "RG24", "NV12", "YUYV"}) {
        char code[5];
        std::memcpy(code, format, 5);
        EXPECT_EQ(refused(opaque(code)), DMABROKER_IMPORT_REFUSED) << format;
    }
}

TEST_F(CudaTest, a_buffer_becomes_an_address_of_the_device)
{
    {
        const Image image = adopted(opaque_buffer());
        const auto buffer = dmabroker::cuda::import_buffer(image, find);
        EXPECT_EQ(buffer->address, 0x7000u);
        EXPECT_EQ(buffer->size, 5000u);
        EXPECT_EQ(notes.buffer.offset, 0u);
        EXPECT_EQ(notes.buffer.size, 5000u);
        EXPECT_EQ(code_of([&] { dmabroker::cuda::import(image, find); }), DMABROKER_IMPORT_REFUSED) << "it is no picture";
    }
    EXPECT_EQ(notes.alive, 0);
}

TEST_F(CudaTest, what_cuda_would_misread_is_refused_before_it_is_handed_over)
{
    dmabroker_image_info elsewhere = opaque(), linear = opaque(), readable = opaque();
    elsewhere.device_uuid[0] = 8;
    linear.optimal_tiling = 0;
    readable.rights = DMABROKER_READ;
    EXPECT_EQ(refused(elsewhere), DMABROKER_IMPORT_REFUSED);
    EXPECT_EQ(refused(linear), DMABROKER_IMPORT_REFUSED);
    EXPECT_EQ(refused(readable, DMABROKER_IMPORT_WRITE), DMABROKER_DENIED);
    EXPECT_EQ(refused(opaque(), DMABROKER_IMPORT_PER_PLANE), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(refused(opaque(), 0, find_nothing), DMABROKER_IMPORT_REFUSED);
    EXPECT_EQ(refused(opaque(), 0, nullptr), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(refused(small_info()), DMABROKER_IMPORT_REFUSED) << "a memfd";
    EXPECT_EQ(notes.memory, 0u) << "nothing was imported";
}

TEST_F(CudaTest, nothing_is_left_when_cuda_says_no)
{
    notes.import_result = 1;
    EXPECT_EQ(refused(opaque()), DMABROKER_IMPORT_FAILED);
    notes.import_result = 0;
    notes.map_result = 1;
    const Image image = adopted(opaque());
    dmabroker_cuda_array array = DMABROKER_CUDA_ARRAY_INIT;
    dmabroker_error error{};
    EXPECT_LT(dmabroker_cuda_import(image.native(), find, 0, &array, &error), 0);
    EXPECT_NE(std::string(error.text).find("CUDA_ERROR_INVALID_VALUE"), std::string::npos) << error.text;
    EXPECT_EQ(array.memory, nullptr);
    EXPECT_EQ(notes.alive, 0);
}

} // namespace
} // namespace dmb::test
