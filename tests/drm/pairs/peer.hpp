// SPDX-License-Identifier: MIT
// One participant: an API on a device, what it can import, and how it draws into and looks at an image.
#pragma once
#include <dmabroker/capabilities.hpp>
#include <memory>
#include <string>
#include <vector>

namespace dmb::pairs {

inline constexpr dmabroker::Size size{64, 64};
using Pixels = std::vector<std::uint8_t>; ///< RGBA, tightly packed, first row of memory first

class Peer {
public:
    virtual ~Peer() = default;
    const std::string& name() const { return name_; }
    const dmabroker::Capabilities& table() const { return table_; }
    dmabroker::Usage producing() const { return producing_; }
    dmabroker::Usage consuming() const { return consuming_; }
    /// Both throw std::exception with a sentence. `AB24`.
    virtual void draw(const dmabroker::Image&, const Pixels&) = 0;
    virtual Pixels look(const dmabroker::Image&) = 0;

protected:
    Peer(const std::string& name, dmabroker::Capabilities table, dmabroker::Usage producing, dmabroker::Usage consuming)
        : name_(name.substr(0, 60)), table_(std::move(table)), producing_(producing), consuming_(consuming)
    {
    }

private:
    std::string name_;
    dmabroker::Capabilities table_;
    dmabroker::Usage producing_, consuming_;
};

/// Everything that this machine has. What cannot be opened is said in `missing`.
std::vector<std::unique_ptr<Peer>> all_peers(std::vector<std::string>& missing);

} // namespace dmb::pairs
