// SPDX-License-Identifier: MIT
// participants [tiled]: asks for an image that EGL can draw into and the CPU can read, and says what it got. With
// `tiled` the one who draws takes nothing less than its GPU's own layout, which the CPU cannot read.
#include <dmabroker/egl.hpp>

#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <iostream>

using dmabroker::Participant, dmabroker::Usage;

// What EGL can import, read from its driver.
static dmabroker::Capabilities egl_capabilities()
{
    EGLDisplay display = eglGetPlatformDisplay(EGL_PLATFORM_SURFACELESS_MESA, EGL_DEFAULT_DISPLAY, nullptr);
    if (!eglInitialize(display, nullptr, nullptr)) throw std::runtime_error("no EGL without a window here");
    return dmabroker::egl::capabilities({display, eglGetProcAddress});
}

int main(int count, char**)
try {
    const auto egl = egl_capabilities(), cpu = dmabroker::Capabilities::cpu();
    auto client = dmabroker::Client::connect();
    egl.state(client); // from now on the digest stands for the table, in other processes, too
    cpu.state(client);
    Participant renderer{.name = "renderer", .capabilities = egl.digest(), .usage = Usage::render | Usage::sample};
    const Participant reader{.name = "reader", .capabilities = cpu.digest(), .usage = Usage::cpu_read};
    if (count > 1) renderer.minimum_rung = DMABROKER_RUNG_TILED;
    auto image = client.allocate({.size = {640, 480}, .format = dmabroker::fourcc("AB24"), .participants = {renderer, reader}});
    std::cout << "image " << image.info().id << " serves both, stride " << image.info().planes[0].stride << '\n';
} catch (const std::exception& error) {
    std::cerr << "participants: " << error.what() << '\n';
    return 1;
}
