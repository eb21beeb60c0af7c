// SPDX-License-Identifier: MIT
/** @file
 * capabilities.h for C++: `auto table = dmabroker::Capabilities::cpu();`
 */
#ifndef DMABROKER_CAPABILITIES_HPP
#define DMABROKER_CAPABILITIES_HPP

#include <dmabroker/capabilities.h>
#include <dmabroker/dmabroker.hpp>

namespace dmabroker {

/** What one participant can import. Never changes; may be used by several threads. */
class Capabilities {
public:
    /** Takes over. */
    explicit Capabilities(dmabroker_capabilities* capabilities) : capabilities_(capabilities) {}
    /** States a table by hand; it is copied. */
    explicit Capabilities(dmabroker_capability_table table)
    {
        table.struct_size = sizeof table;
        *this = made(dmabroker_capabilities_create, &table);
    }
    static Capabilities cpu() { return made(dmabroker_cpu_capabilities); }
    /** `get_proc` finds gbm_* functions; `modifiers`: which ones to ask about besides LINEAR. */
    static Capabilities gbm(void* device, dmabroker_get_proc get_proc, const std::vector<std::uint64_t>& modifiers = {})
    {
        return made(dmabroker_gbm_capabilities, device, get_proc, modifiers.data(), modifiers.size());
    }
    /** Of a plane of an open primary node. */
    static Capabilities kms(int drm, std::uint32_t plane) { return made(dmabroker_kms_capabilities, drm, plane); }
    static Capabilities from_json(const std::string& json) { return made(dmabroker_capabilities_from_json, json.c_str()); }

    const dmabroker_capability_table& table() const noexcept { return *dmabroker_capabilities_get(capabilities_.get()); }
    const dmabroker_capability* begin() const noexcept { return table().rows; }
    const dmabroker_capability* end() const noexcept { return table().rows + table().row_count; }
    std::size_t size() const noexcept { return table().row_count; }
    /** 64 hexadecimal digits. */
    std::string digest() const { return dmabroker_capabilities_digest(capabilities_.get()); }
    std::string to_json() const
    {
        return detail::take_text(detail::result_of<char*>(dmabroker_capabilities_to_json, capabilities_.get()));
    }

    /** Makes it known to the broker as long as the client lives. The second time costs nothing. */
    void state(Client& client) const { detail::call(dmabroker_state_capabilities, client.native(), capabilities_.get()); }

    const dmabroker_capabilities* native() const noexcept { return capabilities_.get(); }

    /** Of a C function whose last parameters are the result and the error. */
    template <class Function, class... Arguments> static Capabilities made(Function function, Arguments... arguments)
    {
        return Capabilities(detail::result_of<dmabroker_capabilities*>(function, arguments...));
    }

private:
    detail::Owner<dmabroker_capabilities, dmabroker_capabilities_free> capabilities_;
};

} // namespace dmabroker

#endif
