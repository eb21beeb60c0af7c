// SPDX-License-Identifier: MIT
// dmabroker-worker: runs one GPU driver on the broker's behalf, so that its crash or hang costs one
// request and not the broker. Started by dmabrokerd only: descriptor 3 is a SEQPACKET socket to it.
// The worker trusts the broker, not the descriptors that clients sent through it, and not the driver.
#include "daemon/worker/proofs/prover.hpp"
#include "daemon/worker/server.hpp"
#include "daemon/worker/system_driver.hpp"
#include "proto/base/log.hpp"

#if DMB_HAVE_GBM
#include "daemon/worker/gbm/backend.hpp"
#endif
#if DMB_HAVE_VULKAN
#include "daemon/worker/vulkan/backend.hpp"
#endif

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <span>
#include <string_view>
#include <sys/prctl.h>
#include <sys/socket.h>

namespace {

using namespace dmb;

constexpr int socket_to_broker = 3;
constexpr int usage_error = 2;

std::unique_ptr<worker::Driver> make_driver(std::span<char*> arguments)
{
    const std::string_view kind = arguments.empty() ? "" : arguments[0];
    if (kind == "prove" && arguments.size() == 1) return std::make_unique<worker::Prover>();
    if (kind == "system" && arguments.size() == 1) return std::make_unique<worker::SystemDriver>();
#if DMB_HAVE_GBM
    if (kind == "gbm" && arguments.size() == 2) return std::make_unique<worker::GbmBackend>(arguments[1]);
#endif
#if DMB_HAVE_VULKAN
    if (kind == "vulkan" && arguments.size() == 2) {
        for (const char* variable : {"VK_DRIVER_FILES", "VK_ICD_FILENAMES"}) ::setenv(variable, arguments[1], 1);
        ::unsetenv("VK_ADD_DRIVER_FILES");
        return std::make_unique<worker::VulkanBackend>();
    }
#endif
    return nullptr;
}

bool is_packet_socket(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

} // namespace

int main(int argc, char** argv)
{
    // A driver that hangs must not outlive the broker, however that ends.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!is_packet_socket(socket_to_broker)) {
        log::error("dmabroker-worker is started by dmabrokerd, with a SEQPACKET socket as descriptor {}", socket_to_broker);
        return usage_error;
    }
    ::fcntl(socket_to_broker, F_SETFD, FD_CLOEXEC);
    const auto driver = make_driver(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
    if (!driver) {
        log::error(
            "usage: dmabroker-worker gbm NODE | vulkan MANIFEST | prove | system (this build has gbm: {}, vulkan: {}, egl: {})",
            bool(DMB_HAVE_GBM), bool(DMB_HAVE_VULKAN), bool(DMB_HAVE_EGL));
        return usage_error;
    }
    if (const auto served = worker::serve(socket_to_broker, *driver); !served) {
        log::error("worker {}: {}", argv[1], served.error().reason.view());
        return 1;
    }
    return 0;
}
