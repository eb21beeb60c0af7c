// SPDX-License-Identifier: MIT
// Allocates an image, draws into it with the CPU and prints a token for whoever shall see it.
#include <dmabroker/dmabroker.hpp>

#include <iostream>

using dmabroker::Direction, dmabroker::Rights, dmabroker::Usage;

// A gradient with a chequered pattern, as red, green, blue, alpha bytes.
static void draw(const dmabroker::MappedBytes& bytes, dmabroker::Size size)
{
    for (std::uint32_t y = 0; y < size.height; ++y) {
        auto* pixel = bytes.row<unsigned char>(y);
        for (std::uint32_t x = 0; x < size.width; ++x, pixel += 4) {
            pixel[0] = static_cast<unsigned char>(x * 255 / size.width);
            pixel[1] = static_cast<unsigned char>(y * 255 / size.height);
            pixel[2] = (x / 32 + y / 32) % 2 ? 200 : 60;
            pixel[3] = 255;
        }
    }
}

int main()
try {
    auto client = dmabroker::Client::connect();
    auto image = client.allocate({.size = {640, 480},
                                  .format = dmabroker::fourcc("AB24"),
                                  .usage = Usage::cpu_write | Usage::sample,
                                  .label = "producer example"});
    auto mapping = image.map(Direction::write);
    auto bytes = mapping.begin(Direction::write);
    draw(bytes, image.size());
    bytes.end();
    std::cout << image.token(Rights::read) << std::endl;
    std::cin.get(); // the image lives as long as somebody holds it
} catch (const dmabroker::Error& error) {
    std::cerr << "producer: " << error.what() << '\n';
    return 1;
}
