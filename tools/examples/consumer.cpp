// SPDX-License-Identifier: MIT
// consumer TOKEN > picture.ppm: opens an image and writes what the CPU sees in it.
#include <dmabroker/dmabroker.hpp>

#include <iostream>

using dmabroker::Direction, dmabroker::Rights, dmabroker::Usage;

static void write_ppm(const dmabroker::MappedBytes& bytes, dmabroker::Size size)
{
    std::cout << "P6\n" << size.width << ' ' << size.height << "\n255\n";
    for (std::uint32_t y = 0; y < size.height; ++y)
        for (std::uint32_t x = 0; x < size.width; ++x) std::cout.write(bytes.row<char>(y) + 4 * x, 3);
}

int main(int count, char** arguments)
try {
    if (count != 2) {
        std::cerr << "usage: consumer TOKEN > picture.ppm\n";
        return 2;
    }
    auto client = dmabroker::Client::connect();
    auto image = client.open(arguments[1], Rights::read, Usage::cpu_read);
    if (image.info().format != dmabroker::fourcc("AB24")) {
        std::cerr << "consumer: this example reads AB24 only\n";
        return 1;
    }
    auto mapping = image.map(Direction::read);
    auto bytes = mapping.begin(Direction::read);
    write_ppm(bytes, image.size());
    bytes.end();
    return std::cout.flush() ? 0 : 1;
} catch (const dmabroker::Error& error) {
    std::cerr << "consumer: " << error.what() << '\n';
    return 1;
}
