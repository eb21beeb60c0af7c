// SPDX-License-Identifier: MIT
// One participant: an API on a device, what it can import, and how it draws into and looks at an image.
#pragma once
#include <dmabroker/capabilities.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace dmb::pairs {

inline constexpr dmabroker::Size size{61, 45};
using Pixels = std::vector<std::uint8_t>; ///< RGBA, tightly packed, first row of memory first
using Bytes = std::vector<std::uint8_t>;  ///< of a buffer

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
    /// Its table has buffers.
    bool knows_buffers() const;
    /// What it states when it shares one.
    virtual dmabroker::Usage writing() const { return dmabroker::Usage::storage | dmabroker::Usage::sample; }
    virtual dmabroker::Usage reading() const { return dmabroker::Usage::sample; }
    /// Only of peers that know buffers.
    virtual void write(const dmabroker::Image&, const Bytes&) { throw std::logic_error("no buffers"); }
    virtual Bytes read(const dmabroker::Image&) { throw std::logic_error("no buffers"); }

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
