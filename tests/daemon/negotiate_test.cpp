// SPDX-License-Identifier: MIT
// The order of preference, and that every offer that was removed says why.
#include "daemon/core/deciding/negotiate.hpp"

#include <gtest/gtest.h>

namespace dmb::test {
namespace {

constexpr Modifier tiled{0x0100000000000002};
constexpr FourCC format = fourcc("XR24");

class Negotiate : public ::testing::Test {
protected:
    struct Device {
        Exporter info;
        std::vector<Capability> formats;
    };

    void add(Backend backend, bool software, std::vector<Modifier> modifiers = {modifier_linear},
             Usage usage = Usage::from_bits(63), const char* problem = "")
    {
        Device device{{{.software = software}, backend, name(backend), problem}, {}};
        const MemoryKind kind = backend == Backend::memfd           ? MemoryKind::memfd
                                : backend == Backend::vulkan_opaque ? MemoryKind::opaque
                                                                    : MemoryKind::dma_buf;
        for (const Modifier modifier : modifiers)
            device.formats.push_back({.kind = kind, .format = format, .modifier = modifier, .usage = usage});
        devices.push_back(std::move(device));
    }
    void add_all(bool software)
    {
        for (const Backend b : {Backend::memfd, Backend::dma_heap, Backend::udmabuf}) add(b, true);
        for (const Backend b : {Backend::vulkan_opaque, Backend::vulkan, Backend::gbm}) add(b, software);
    }
    Plan run(const Disproof& disproof = {})
    {
        std::vector<Offer> offers;
        for (std::size_t i = 0; i < devices.size(); ++i) offers.push_back({&devices[i].info, devices[i].formats, 0, i});
        return negotiate({spec, {}, {}, offers, disproof});
    }
    std::vector<Backend> order()
    {
        std::vector<Backend> out;
        for (const Choice& choice : run().choices) out.push_back(devices[choice.allocator].info.backend);
        return out;
    }
    std::string reason()
    {
        const Plan out = run();
        EXPECT_TRUE(out.choices.empty());
        return out.refused.empty() ? "" : std::string(out.refused[0].reason.view());
    }

    AllocateSpec spec{.size = {64, 64}, .format = format, .modifiers = {}, .usage = UsageFlag::render};
    std::vector<Device> devices;
};

using enum Backend;

TEST_F(Negotiate, a_gpu_s_own_memory_comes_first_for_a_gpu)
{
    add_all(false);
    EXPECT_EQ(order(), (std::vector{gbm, vulkan, vulkan_opaque, udmabuf, dma_heap, memfd}));
    spec.usage = {};
    EXPECT_EQ(order(), (std::vector{gbm, vulkan, vulkan_opaque, udmabuf, dma_heap, memfd}));
}

TEST_F(Negotiate, software_drivers_come_last)
{
    add_all(true);
    EXPECT_EQ(order(), (std::vector{udmabuf, dma_heap, memfd, gbm, vulkan, vulkan_opaque}));
}

TEST_F(Negotiate, the_cpu_gets_plain_memory_and_never_opaque)
{
    add_all(false);
    spec.usage = usage_cpu;
    EXPECT_EQ(order(), (std::vector{memfd, udmabuf, dma_heap, gbm, vulkan}));
}

TEST_F(Negotiate, only_backends_asked_for_are_considered)
{
    add_all(false);
    spec.backends.add(dma_heap);
    spec.backends.add(vulkan);
    EXPECT_EQ(order(), (std::vector{vulkan, dma_heap}));
    EXPECT_EQ(run().refused.size(), 4u);
    EXPECT_TRUE(run().passed_over.empty()) << "nobody wanted them";
}

TEST_F(Negotiate, a_device_is_found_by_node_or_name)
{
    add(gbm, false);
    add(gbm, false);
    devices[1].info.node = "/dev/dri/renderD129";
    spec.device = "/dev/dri/renderD129";
    ASSERT_EQ(run().choices.size(), 1u);
    EXPECT_EQ(run().choices[0].allocator, 1u);
    spec.device = "no such device";
    EXPECT_EQ(reason(), "not the device asked for (no such device)");
}

TEST_F(Negotiate, gpus_of_one_name_are_told_apart_by_their_uuid)
{
    add(vulkan_opaque, false);
    add(vulkan_opaque, false);
    devices[0].info.id.device_uuid.fill(1);
    devices[1].info.id.device_uuid.fill(2);
    spec.device.assign(to_string(devices[1].info.id.device_uuid));
    ASSERT_EQ(run().choices.size(), 1u);
    EXPECT_EQ(run().choices[0].allocator, 1u);
    devices[1].info.id.device_uuid = {};
    spec.device.assign(to_string(Uuid{}));
    EXPECT_TRUE(run().choices.empty()) << "zero is no UUID";
}

TEST_F(Negotiate, a_broken_device_says_what_is_wrong)
{
    add(gbm, false, {modifier_linear}, UsageFlag::render, "permission denied; join the group render");
    EXPECT_EQ(reason(), "permission denied; join the group render");
}

TEST_F(Negotiate, every_constraint_names_itself)
{
    add(gbm, false, {modifier_linear}, UsageFlag::render);
    spec.format = fourcc("NV12");
    EXPECT_EQ(reason(), "NV12 could not be allocated there");
    spec.format = format;
    spec.modifiers.push_back(tiled);
    EXPECT_EQ(reason(), "has XR24, with none of the 1 modifiers asked for");
    spec.modifiers.clear();
    spec.usage = UsageFlag::scanout;
    EXPECT_EQ(reason(), "XR24 there cannot serve scanout");
    spec.usage = UsageFlag::render;
    spec.minimum_rung = Rung::tiled;
    EXPECT_EQ(reason(), "gives rung linear at best, tiled or better was asked for");
}

TEST_F(Negotiate, modifiers_are_narrowed_to_those_that_work_in_the_client_s_order)
{
    add(gbm, false, {modifier_linear, tiled});
    spec.modifiers = {Modifier{77}, tiled, modifier_linear};
    EXPECT_EQ(run().choices.at(0).modifiers, (BoundedVector<Modifier, limits::modifiers>{tiled, modifier_linear}));
    spec.modifiers.clear();
    EXPECT_TRUE(run().choices.at(0).modifiers.empty()) << "any will do";
    spec.minimum_rung = Rung::tiled;
    EXPECT_EQ(run().choices.at(0).modifiers, (BoundedVector<Modifier, limits::modifiers>{tiled}));
}

TEST_F(Negotiate, what_was_better_but_could_not_serve_is_remembered)
{
    add(gbm, false, {modifier_linear}, UsageFlag::render, "broken");
    add(memfd, true);
    const Plan out = run();
    ASSERT_EQ(out.passed_over.size(), 1u);
    EXPECT_EQ(out.passed_over[0].backend, gbm);
    spec.usage = usage_cpu;
    EXPECT_TRUE(run().passed_over.empty()) << "memfd is best for the CPU";
}

TEST_F(Negotiate, a_request_known_to_crash_is_not_tried_again)
{
    add(gbm, false);
    add(memfd, true);
    const Plan out = run([](const Offer& offer, const Party*, FourCC, Modifier) -> BoundedText<160> {
        return offer.device->backend == gbm ? "crashed" : "";
    });
    ASSERT_EQ(out.choices.size(), 1u);
    EXPECT_EQ(out.choices[0].allocator, 1u);
    EXPECT_EQ(out.refused.at(0).reason, BoundedText<160>("crashed"));
}

TEST_F(Negotiate, a_driver_that_crashed_while_choosing_is_told_what_to_choose)
{
    constexpr Modifier swizzled{0x0100000000000001};
    add(gbm, false, {swizzled, modifier_linear});
    EXPECT_TRUE(run().choices.at(0).modifiers.empty()) << "any";
    EXPECT_FALSE(run().choices.at(0).settled);
    const Plan out = run([](const Offer&, const Party*, FourCC, Modifier modifier) -> BoundedText<160> {
        return modifier == modifier_invalid ? "crashed" : "";
    });
    EXPECT_TRUE(out.choices.at(0).settled);
    EXPECT_EQ(out.choices.at(0).modifiers, (BoundedVector<Modifier, limits::modifiers>{swizzled, modifier_linear}));
}

} // namespace
} // namespace dmb::test
