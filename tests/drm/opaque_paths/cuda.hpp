// SPDX-License-Identifier: MIT
// The few functions of the CUDA driver API that share memory, found at run time: no CUDA is needed to build this.
#pragma once
#include "proto/base/unique_fd.hpp"
#include "proto/image/types.hpp"

#include <dmabroker/cuda.hpp>
#include <memory>
#include <string>
#include <vector>

namespace dmb::paths {

struct CudaFunctions;

/// One device's primary context, current on this thread.
class Cuda {
public:
    /// The device with this UUID; throws Skip where there is no CUDA or no such device.
    static Cuda with_uuid(const Uuid&);
    /// The first device.
    static Cuda first();
    Cuda(Cuda&&) noexcept = default;
    Uuid uuid(int device = 0) const;
    const CudaFunctions& api() const { return *api_; }
    /// Throws with the call's name and CUDA's for the error.
    void check(int result, const char* call) const;
    /// Waits for all that was queued.
    void synchronize() const;

private:
    explicit Cuda(std::shared_ptr<const CudaFunctions> api) : api_(std::move(api)) {}
    static Cuda open();
    void make_current(int device) const;
    std::shared_ptr<const CudaFunctions> api_;
};

dmabroker_proc find_in_libcuda(const char* name);

/// A buffer in opaque memory of Vulkan, as an address of the device.
class CudaMappedBuffer {
public:
    CudaMappedBuffer(const Cuda& cuda, const dmabroker::Image& image)
        : cuda_(cuda), buffer_(dmabroker::cuda::import_buffer(image, find_in_libcuda))
    {
    }
    std::vector<std::uint8_t> read() const;
    void write(const std::vector<std::uint8_t>&) const;

private:
    const Cuda& cuda_;
    dmabroker::cuda::Buffer buffer_;
};

/// Opaque memory of Vulkan as a CUDA array: pixels are copied with the layout undone.
class CudaImage {
public:
    CudaImage(const Cuda& cuda, const dmabroker::Image& image)
        : cuda_(cuda), size_(image.size()), array_(dmabroker::cuda::import(image, find_in_libcuda))
    {
    }
    /// RGBA, tightly packed; after what was queued before.
    std::vector<std::uint8_t> read() const;
    void write(const std::vector<std::uint8_t>&) const;

private:
    const Cuda& cuda_;
    dmabroker::Size size_;
    dmabroker::cuda::Array array_;
};

class CudaSemaphore {
public:
    /// A binary semaphore that Vulkan exported.
    CudaSemaphore(const Cuda&, UniqueFd);
    CudaSemaphore(const CudaSemaphore&) = delete;
    CudaSemaphore& operator=(const CudaSemaphore&) = delete;
    ~CudaSemaphore();
    /// What is queued next waits. Returns whether there was something to wait for.
    bool wait() const;
    void signal() const;

private:
    const Cuda& cuda_;
    void* semaphore_ = nullptr;
};

/// Memory that CUDA allocated and can export as a dma-buf.
class CudaBuffer {
public:
    CudaBuffer(const Cuda&, std::size_t bytes);
    CudaBuffer(const CudaBuffer&) = delete;
    CudaBuffer& operator=(const CudaBuffer&) = delete;
    ~CudaBuffer();
    void write(const std::vector<std::uint8_t>&) const;
    UniqueFd export_dma_buf() const;

private:
    const Cuda& cuda_;
    std::size_t bytes_;
    unsigned long long address_ = 0;
};

} // namespace dmb::paths
