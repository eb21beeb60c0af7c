// SPDX-License-Identifier: MIT
// Machines and programs as they occur, and what must come out: the image, or who is in the way, by which demand, and
// what to change. Tables are those of tables/.
#include "tests/daemon/scenario.hpp"

#include <algorithm>
#include <gtest/gtest.h>

namespace dmb::test {
namespace {

using enum Backend;
using enum UsageFlag;

constexpr Modifier x_tiled{0x0100000000000001}, y_tiled{0x0100000000000002}, intel_ccs{0x0100000000000006},
    intel_mc_ccs{0x0100000000000007}, intel_clear{0x0100000000000008}, four_tiled{0x0100000000000009};
constexpr Modifier amd_dcc{0x020000002096bb03}, amd_retiled{0x0200000020967b03}, amd_tiled{0x0200000020801b03},
    gfx9_s{0x0200000000000901}, rdna3_dcc{0x0200000028a6bf04}, rdna3_retiled{0x0200000028a67f04},
    rdna3_tiled{0x0200000028a01f04}, nvidia_compressed{0x0300000001e08015};
constexpr Modifier block_linear{0x0300000000606015}, qcom_compressed{0x0500000000000001}, sand96{0x0700000000006004},
    uif{0x0700000000000006}, afbc{0x0800000000000041}, afbc_ytr{0x0800000000000051};
constexpr Modifier nobodys{0xfedcba9876543210};

constexpr const char *first = "/dev/dri/renderD128", *second = "/dev/dri/renderD129", *third = "/dev/dri/renderD130";

struct Expected {
    bool served = false;
    Backend backend = gbm;
    std::string node;
    FourCC format;
    Modifier modifier;
    Rung rung = Rung::tiled;
    std::vector<std::string> culprits; ///< of what serves everybody
    std::optional<Demand> demand;      ///< that somebody among them, or the request, fails by
    std::string nearest;               ///< part of the sentence
    std::vector<std::string> copied;
    std::optional<LayoutRules> rules;
    bool left_to_driver = false; ///< everybody takes any modifier

    Expected copies(std::vector<std::string> names) &&
    {
        copied = std::move(names);
        return std::move(*this);
    }
    Expected of_any() &&
    {
        left_to_driver = true;
        return std::move(*this);
    }
    Expected with(std::uint32_t stride, std::uint32_t offset = 1) &&
    {
        rules = LayoutRules{stride, offset, false};
        return std::move(*this);
    }
};

template <std::size_t N>
Expected image(Backend backend, std::string node, const char (&format)[N], Modifier modifier, Rung rung)
{
    return {.served = true,
            .backend = backend,
            .node = std::move(node),
            .format = fourcc(format),
            .modifier = modifier,
            .rung = rung};
}
Expected nobody(std::vector<std::string> culprits, std::optional<Demand> demand, std::string nearest)
{
    return {.culprits = std::move(culprits), .demand = demand, .nearest = std::move(nearest)};
}

struct Scenario {
    const char* says;
    void (*given)(Situation&);
    Expected expected;
};
void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.says; }

// --- the exporters ---------------------------------------------------------------------------------

void intel(Situation& s, const char* display = "intel_gen12_kms")
{
    s.offer(gbm, "intel_gen12_egl", {.scanout = display, .encode = "intel_gen12_media", .cpu = true});
}
void amd(Situation& s) { s.offer(gbm, "amd_rdna2_egl", {.scanout = "amd_rdna2_kms", .encode = "amd_vcn"}); }
/// RADV takes retiled compression up to 2560 pixels.
void retiled_of_width(Situation& s, std::uint32_t width)
{
    s.offer(gbm, "amd_rdna3_egl");
    s.spec.size = {width, 1440};
    s.spec.modifiers = {rdna3_retiled, rdna3_tiled};
    s.party("renderer", "amd_rdna3_vulkan", render);
}
void geforce(Situation& s) { s.offer(gbm, "nvidia_egl", {.scanout = "nvidia_kms"}); }
void system_memory(Situation& s)
{
    s.offer(udmabuf);
    s.offer(memfd);
}
void a_buffer(Situation& s)
{
    s.spec.format = buffer_format;
    s.spec.size = {1'000'003, 1};
}
/// One layout of one format on a GPU that no table knows.
void strange(Situation& s, Modifier modifier, Usage usage = sample | render)
{
    s.offer(gbm, Exporter{{.node = third}, gbm, "strange GPU", {}},
            {{.format = fourcc("XR24"), .modifier = modifier, .usage = usage}});
}
TablePointer table_of(std::vector<Capability> rows)
{
    Capabilities table{.device = {}, .api = Api::other, .rules = {}, .rows = std::move(rows)};
    table.device.driver = "strange";
    make_canonical(table);
    return std::make_shared<const Capabilities>(std::move(table));
}
Disproof disproved(Modifier modifier, std::string_view who)
{
    return [=](const Offer&, const Party* party, FourCC, Modifier m) -> BoundedText<160> {
        const bool meant = party ? party->demands.name.view() == who : who.empty();
        return meant && m == modifier ? "tried: wrong pixels" : "";
    };
}
Disproof crashed(Backend backend)
{
    return [=](const Offer& o, const Party* party, FourCC, Modifier) -> BoundedText<160> {
        return !party && o.device->backend == backend ? "tried: crashed" : "";
    };
}

// --- what happens ----------------------------------------------------------------------------------

const Scenario one_gpu[] = {
    {"two programs on one GPU share its best compression",
     [](Situation& s) {
         intel(s);
         s.party("renderer", "intel_gen12_egl", render);
         s.party("compositor", "intel_gen12_egl", sample);
     },
     image(gbm, first, "XR24", intel_clear, Rung::tiled)},
    {"a display that shows clear colours gets them",
     [](Situation& s) {
         intel(s);
         s.party("renderer", "intel_gen12_egl", render);
         s.party("panel", "intel_gen12_kms", scanout);
     },
     image(gbm, first, "XR24", intel_clear, Rung::tiled)},
    {"a display that cannot show compression gets plain tiles",
     [](Situation& s) {
         intel(s, "intel_gen9_kms_pipe_c");
         s.party("renderer", "intel_gen12_egl", render);
         s.party("panel", "intel_gen9_kms_pipe_c", scanout);
     },
     image(gbm, first, "XR24", y_tiled, Rung::tiled)},
    {"ten bits are displayed without compression",
     [](Situation& s) {
         intel(s);
         s.spec.format = fourcc("XR30");
         s.party("renderer", "intel_gen12_egl", render);
         s.party("panel", "intel_gen12_kms", scanout);
     },
     image(gbm, first, "XR30", y_tiled, Rung::tiled)},
    {"an encoder that takes Y tiles with a stride of 64 gets them",
     [](Situation& s) {
         intel(s);
         s.spec.format = fourcc("NV12");
         s.party("compositor", "intel_gen12_egl", sample);
         s.party("encoder", "intel_gen12_media", encode);
     },
     image(gbm, first, "NV12", y_tiled, Rung::tiled).with(64)},
    {"media compression stays among those who sample",
     [](Situation& s) {
         intel(s);
         s.spec.format = fourcc("P010");
         s.party("player", "intel_gen12_egl", sample);
         s.party("compositor", "intel_gen12_egl", sample);
     },
     image(gbm, first, "P010", intel_mc_ccs, Rung::tiled)},
    {"what the participants prefer goes before what the driver prefers",
     [](Situation& s) {
         intel(s);
         s.party("renderer", "intel_gen12_egl", render).modifiers = {x_tiled, y_tiled, intel_ccs};
         s.party("compositor", "intel_gen12_egl", sample).modifiers = {y_tiled, x_tiled};
         s.party("recorder", "intel_gen12_egl", sample).modifiers = {y_tiled, intel_ccs, x_tiled};
     },
     image(gbm, first, "XR24", y_tiled, Rung::tiled)},
    {"a preference for LINEAR does not cost a GPU its tiles",
     [](Situation& s) {
         intel(s);
         s.party("renderer", "intel_gen12_egl", render).modifiers = {modifier_linear, y_tiled};
     },
     image(gbm, first, "XR24", y_tiled, Rung::tiled)},
    {"a display of the same device needs an exporter that allocates for it",
     [](Situation& s) {
         intel(s, "");
         s.strict("panel", "intel_gen12_kms", scanout);
     },
     nobody({"panel"}, Demand::usage, "leave panel out -> XR24")},
    {"an encoder cannot be drawn into",
     [](Situation& s) {
         intel(s);
         s.spec.format = fourcc("NV12");
         s.strict("encoder", "intel_gen12_media", encode | render);
     },
     nobody({"encoder"}, Demand::usage, "leave encoder out -> NV12 INTEL Y_TILED")},
    {"retiled compression is displayed where the display has it",
     [](Situation& s) {
         amd(s);
         s.party("renderer", "amd_rdna2_egl", render);
         s.party("panel", "amd_rdna2_kms", scanout);
     },
     image(gbm, second, "XR24", amd_retiled, Rung::tiled).with(256, 256)},
    {"compression without retiling is for those who sample",
     [](Situation& s) {
         amd(s);
         s.party("renderer", "amd_rdna2_egl", render).modifiers = {amd_dcc, gfx9_s};
         s.party("panel", "amd_rdna2_kms", scanout);
     },
     image(gbm, second, "XR24", gfx9_s, Rung::tiled)},
    {"a display too wide for retiled compression gets plain tiles",
     [](Situation& s) {
         amd(s);
         s.spec.size = {7680, 4320};
         s.party("renderer", "amd_rdna2_egl", render);
         s.party("panel", "amd_rdna2_kms", scanout);
     },
     image(gbm, second, "XR24", amd_tiled, Rung::tiled)},
    {"half floats are displayed uncompressed",
     [](Situation& s) {
         amd(s);
         s.spec.format = fourcc("AB4H");
         s.party("renderer", "amd_rdna2_egl", render);
         s.party("panel", "amd_rdna2_kms", scanout);
     },
     image(gbm, second, "AB4H", amd_tiled, Rung::tiled)},
    {"what OpenGL compresses Vulkan reads on the same GPU",
     [](Situation& s) {
         s.offer(gbm, "amd_rdna3_egl");
         s.party("renderer", "amd_rdna3_vulkan", render);
         s.party("compositor", "amd_rdna3_egl", sample);
     },
     image(gbm, second, "XR24", rdna3_dcc, Rung::tiled).with(256, 256)},
    {"a modifier's own largest size takes it out for larger images", [](Situation& s) { retiled_of_width(s, 2561); },
     image(gbm, second, "XR24", rdna3_tiled, Rung::tiled)},
    {"up to that size it stays", [](Situation& s) { retiled_of_width(s, 2560); },
     image(gbm, second, "XR24", rdna3_retiled, Rung::tiled)},
    {"generations that share no tiling meet at LINEAR",
     [](Situation& s) {
         amd(s);
         s.offer(gbm, "amd_rdna3_egl").node = third;
         s.party("renderer", "amd_rdna2_egl", render);
         s.party("viewer", "amd_rdna3_vulkan", sample);
     },
     image(gbm, second, "XR24", modifier_linear, Rung::linear).with(256, 256)},
    {"a video engine that takes LINEAR only brings it to LINEAR",
     [](Situation& s) {
         amd(s);
         s.spec.format = fourcc("NV12");
         s.party("player", "amd_rdna2_egl", sample);
         s.party("encoder", "amd_vcn", encode);
     },
     image(gbm, second, "NV12", modifier_linear, Rung::linear).with(256, 256)},
    {"block-linear memory is displayed by its own GPU",
     [](Situation& s) {
         geforce(s);
         s.party("renderer", "nvidia_egl", render);
         s.party("panel", "nvidia_kms", scanout);
     },
     image(gbm, second, "XR24", block_linear, Rung::tiled)},
    {"Vulkan without compressed kinds leaves block-linear ones",
     [](Situation& s) {
         geforce(s);
         s.offer(vulkan, "nvidia_vulkan");
         s.party("renderer", "nvidia_vulkan", render | storage);
         s.party("compositor", "nvidia_egl", sample).no_external_only = true;
     },
     image(vulkan, second, "XR24", block_linear, Rung::tiled)},
    {"AFBC goes to the display window that decodes it",
     [](Situation& s) {
         s.offer(gbm, "mali_panfrost_egl");
         s.party("renderer", "mali_panfrost_egl", render);
         s.party("cluster window", "rockchip_vop2_cluster", scanout);
     },
     image(gbm, first, "XR24", afbc_ytr, Rung::tiled)},
    {"a display window without AFBC brings it to LINEAR",
     [](Situation& s) {
         s.offer(gbm, "mali_panfrost_egl");
         s.party("renderer", "mali_panfrost_egl", render);
         s.party("smart window", "rockchip_vop2_smart", scanout);
     },
     image(gbm, first, "XR24", modifier_linear, Rung::linear)},
    {"two display windows that share no layout cannot show one image",
     [](Situation& s) {
         s.offer(gbm, "mali_panthor_egl");
         s.strict("renderer", "mali_panthor_egl", render);
         s.strict("cluster window", "rockchip_vop2_cluster", scanout);
         s.strict("smart window", "rockchip_vop2_smart", scanout);
     },
     nobody({"smart window"}, Demand::modifier, "leave smart window out -> XR24 ARM BLOCK_SIZE=16x16")},
    {"AFBC with options that the display lacks is not used",
     [](Situation& s) {
         s.offer(gbm, "mali_panthor_egl");
         s.party("renderer", "mali_panthor_egl", render).modifiers = {Modifier{0x0800000000000351}, afbc};
         s.party("cluster window", "rockchip_vop2_cluster", scanout);
     },
     image(gbm, first, "XR24", afbc, Rung::tiled)},
    {"compression of one vendor passes GPU, display and encoder",
     [](Situation& s) {
         s.offer(gbm, "adreno_freedreno_egl", {.scanout = "qcom_msm_kms"});
         s.spec.format = fourcc("NV12");
         s.party("player", "adreno_freedreno_egl", sample);
         s.party("panel", "qcom_msm_kms", scanout);
         s.party("encoder", "qcom_venus_encoder", encode);
     },
     image(gbm, first, "NV12", qcom_compressed, Rung::tiled).with(128, 4096)},
    {"a GPU's tiles that the display does not know are not scanned out",
     [](Situation& s) {
         s.offer(gbm, "v3d_egl");
         s.party("renderer", "v3d_egl", render);
         s.party("panel", "vc4_kms", scanout);
     },
     image(gbm, first, "XR24", modifier_linear, Rung::linear)},
    {"without the display the GPU's tiles are used",
     [](Situation& s) {
         s.offer(gbm, "v3d_egl");
         s.party("renderer", "v3d_egl", render);
         s.party("viewer", "v3d_egl", sample);
     },
     image(gbm, first, "XR24", uif, Rung::tiled)},
    {"columns of another height are another layout",
     [](Situation& s) {
         s.offer(gbm, "v3d_egl");
         s.spec.format = fourcc("NV12");
         s.party("decoder", "", sample).modifiers = {Modifier{0x0700000000006104}, sand96};
         s.party("panel", "vc4_kms", scanout);
     },
     image(gbm, first, "NV12", sand96, Rung::tiled)},
    {"tiles of a new generation stay with those who list them",
     [](Situation& s) {
         s.offer(gbm, "intel_dg2_egl");
         s.party("renderer", "intel_dg2_egl", render);
         s.party("viewer", "", sample).modifiers = {y_tiled, four_tiled};
     },
     image(gbm, second, "XR24", four_tiled, Rung::tiled)},
};

const Scenario several_gpus[] = {
    {"an Intel renderer and an AMD compositor meet at LINEAR with AMD's stride",
     [](Situation& s) {
         intel(s);
         amd(s);
         s.party("renderer", "intel_gen12_egl", render);
         s.party("compositor", "amd_rdna2_egl", sample);
     },
     image(gbm, first, "XR24", modifier_linear, Rung::linear).with(256, 256)},
    {"the device that the request names allocates",
     [](Situation& s) {
         intel(s);
         amd(s);
         s.spec.device = second;
         s.party("renderer", "intel_gen12_egl", render);
         s.party("compositor", "amd_rdna2_egl", sample);
     },
     image(gbm, second, "XR24", modifier_linear, Rung::linear)},
    {"two AMD GPUs of different generations meet at tiles that both know",
     [](Situation& s) {
         amd(s);
         s.offer(gbm, "amd_gfx10_egl");
         s.party("renderer", "amd_rdna2_egl", render);
         s.party("compositor", "amd_gfx10_egl", sample);
     },
     image(gbm, second, "XR24", gfx9_s, Rung::tiled)},
    {"a GPU that samples LINEAR as external texture only can do so",
     [](Situation& s) {
         intel(s);
         geforce(s);
         s.party("renderer", "intel_gen12_egl", render);
         s.party("viewer", "nvidia_egl", sample);
     },
     image(gbm, first, "XR24", modifier_linear, Rung::linear)},
    {"who wants sampler2D cannot have external textures",
     [](Situation& s) {
         s.offer(gbm, "intel_gen12_egl", {});
         s.strict("renderer", "intel_gen12_egl", render);
         s.strict("viewer", "nvidia_egl", sample).no_external_only = true;
     },
     nobody({"viewer"}, Demand::external_only, "drop viewer's refusal of external textures -> XR24 LINEAR")},
    {"who renders cannot have external textures, wanted or not",
     [](Situation& s) {
         strange(s, y_tiled);
         s.party("renderer", table_of({{MemoryKind::dma_buf, fourcc("XR24"), y_tiled, 1, true, {}, {}}}), render)
             .no_external_only = true;
     },
     nobody({"renderer"}, Demand::external_only, "leave renderer out -> XR24 INTEL Y_TILED")},
    {"a viewer on another GPU gets a copy of what only one GPU can draw",
     [](Situation& s) {
         intel(s);
         geforce(s);
         system_memory(s);
         s.party("renderer", "nvidia_egl", render).minimum_rung = Rung::tiled;
         s.party("viewer", "intel_gen12_egl", sample);
     },
     image(gbm, second, "XR24", nvidia_compressed, Rung::tiled).copies({"viewer"})},
    {"a viewer on another GPU that accepts no copy is in the way",
     [](Situation& s) {
         geforce(s);
         intel(s);
         s.strict("renderer", "nvidia_egl", render).minimum_rung = Rung::tiled;
         s.strict("viewer", "intel_gen12_egl", sample);
     },
     nobody({"viewer"}, Demand::modifier, "leave viewer out -> XR24 NVIDIA BLOCK_LINEAR_2D")},
    {"a discrete GPU that crashed gives way to system memory",
     [](Situation& s) {
         amd(s);
         system_memory(s);
         s.disproof = crashed(gbm);
         s.party("renderer", "intel_gen12_egl", render);
         s.party("compositor", "amd_rdna2_egl", sample);
     },
     image(udmabuf, "", "XR24", modifier_linear, Rung::system_dma_buf)},
    {"what crashed everywhere is nobody's fault",
     [](Situation& s) {
         amd(s);
         s.disproof = crashed(gbm);
         s.party("renderer", "amd_rdna2_egl", render);
     },
     nobody({}, {}, "")},
    {"what crashed is not offered as the nearest change",
     [](Situation& s) {
         amd(s);
         system_memory(s);
         s.disproof = crashed(gbm);
         s.party("renderer", "amd_rdna2_egl", render).minimum_rung = Rung::tiled;
     },
     nobody({"renderer"}, Demand::rung, "drop renderer's minimum rung -> XR24 LINEAR from udmabuf, rung system_dma_buf")},
    {"a broken GPU is passed over",
     [](Situation& s) {
         amd(s);
         s.devices.back().problem = "permission denied";
         intel(s);
         s.party("renderer", "intel_gen12_egl", render);
     },
     image(gbm, first, "XR24", intel_clear, Rung::tiled)},
    {"three GPUs meet at LINEAR",
     [](Situation& s) {
         intel(s);
         amd(s);
         s.offer(gbm, "amd_gfx10_egl");
         s.party("renderer", "intel_gen12_egl", render);
         s.party("compositor", "amd_rdna2_egl", sample);
         s.party("recorder", "amd_gfx10_egl", sample);
     },
     image(gbm, first, "XR24", modifier_linear, Rung::linear)},
    {"a request for tiles across vendors is told to take LINEAR",
     [](Situation& s) {
         intel(s);
         amd(s);
         s.spec.minimum_rung = Rung::tiled;
         s.party("renderer", "intel_gen12_egl", render);
         s.party("compositor", "amd_rdna2_egl", sample);
     },
     nobody({"compositor"}, Demand::modifier, "drop the request's minimum rung -> XR24 LINEAR")},
    {"a participant's demand for tiles is the smaller thing to drop",
     [](Situation& s) {
         intel(s);
         s.spec.format = fourcc("NV12");
         s.strict("player", "intel_gen12_egl", sample).minimum_rung = Rung::tiled;
         s.strict("encoder", "v4l2_encoder", encode);
     },
     nobody({"player"}, Demand::rung, "drop player's minimum rung -> NV12 LINEAR")},
};

const Scenario rules_and_sizes[] = {
    {"strides of 64 and 96 become 192",
     [](Situation& s) {
         intel(s);
         s.party("a", "", sample).rules.stride_alignment = 64;
         s.party("b", "", sample).rules.stride_alignment = 96;
     },
     image(gbm, first, "XR24", intel_clear, Rung::tiled).of_any().with(192)},
    {"an alignment of one is none",
     [](Situation& s) {
         intel(s);
         s.party("a", "", sample).rules = {1, 1, false};
         s.party("b", "intel_gen12_egl", sample).rules = {0, 0, false};
     },
     image(gbm, first, "XR24", intel_clear, Rung::tiled).with(1)},
    {"a participant adds to the rules of its own table",
     [](Situation& s) {
         amd(s);
         s.party("renderer", "amd_rdna2_egl", render).rules = {384, 4096, false};
     },
     image(gbm, second, "XR24", amd_dcc, Rung::tiled).with(768, 4096)},
    {"the largest alignment of those that contradict is to blame",
     [](Situation& s) {
         intel(s);
         s.strict("printer", "", sample).rules.stride_alignment = 1048573;
         s.strict("viewer", "intel_gen12_egl", sample).rules.stride_alignment = 4;
     },
     nobody({"printer"}, Demand::rules, "drop printer's layout rules -> XR24")},
    {"who contradicts the alignment of another's table is to blame",
     [](Situation& s) {
         amd(s);
         s.strict("renderer", "amd_rdna2_egl", render);
         s.strict("printer", "", sample).rules.offset_alignment = 2 << 20;
     },
     nobody({"printer"}, Demand::rules, "drop printer's layout rules -> XR24")},
    {"an alignment of one MiB is the largest",
     [](Situation& s) {
         intel(s);
         s.party("a", "", sample).rules.stride_alignment = 1 << 20;
         s.party("b", "", sample).rules.stride_alignment = 4096;
     },
     image(gbm, first, "XR24", intel_clear, Rung::tiled).of_any().with(1 << 20)},
    {"a copy has its own alignment, the image does not",
     [](Situation& s) {
         amd(s);
         s.party("renderer", "amd_rdna2_egl", render).minimum_rung = Rung::tiled;
         s.party("printer", "", sample).rules.stride_alignment = 1048573;
     },
     image(gbm, second, "XR24", amd_dcc, Rung::tiled).copies({"printer"}).with(256, 256)},
    {"contiguous memory is promised by nobody, not even for a copy",
     [](Situation& s) {
         intel(s);
         s.spec.format = fourcc("NV12");
         s.party("compositor", "intel_gen12_egl", sample);
         s.party("camera", "v4l2_camera", {});
     },
     nobody({"camera"}, Demand::rules, "leave camera out -> NV12")},
    {"contiguous memory that a program demands can be dropped",
     [](Situation& s) {
         intel(s);
         s.party("camera", "", sample).rules.contiguous = true;
     },
     nobody({"camera"}, Demand::rules, "drop camera's layout rules")},
    {"a camera behind an IOMMU writes what a GPU samples",
     [](Situation& s) {
         intel(s);
         s.spec.format = fourcc("YUYV");
         s.party("compositor", "intel_gen12_egl", sample);
         s.party("camera", "v4l2_camera_iommu", {});
     },
     image(gbm, first, "YUYV", modifier_linear, Rung::linear).with(32)},
    {"protected memory is made by nobody",
     [](Situation& s) {
         intel(s);
         s.party("compositor", "intel_gen12_egl", sample);
         s.strict("player", "intel_gen12_egl", sample).is_protected = true;
     },
     nobody({"player"}, Demand::protection, "drop player's protected memory -> XR24")},
    {"an encoder that the size is too large for cannot have a copy either",
     [](Situation& s) {
         intel(s);
         s.spec = {.size = {3840, 2160}, .format = fourcc("NV12")};
         s.party("compositor", "intel_gen12_egl", sample);
         s.party("encoder", "v4l2_encoder", encode);
     },
     nobody({"encoder"}, Demand::size, "leave encoder out -> NV12")},
    {"a size just as large as allowed fits",
     [](Situation& s) {
         intel(s);
         s.spec = {.size = {1920, 1920}, .format = fourcc("NV12")};
         s.party("compositor", "intel_gen12_egl", sample);
         s.party("encoder", "v4l2_encoder", encode).max_size = {1920, 0};
     },
     image(gbm, first, "NV12", modifier_linear, Rung::linear)},
    {"a size limit that a program states can be dropped",
     [](Situation& s) {
         intel(s);
         s.strict("thumbnailer", "intel_gen12_egl", sample).max_size = {256, 256};
     },
     nobody({"thumbnailer"}, Demand::size, "drop thumbnailer's size limit -> XR24")},
    {"a size limit of the driver cannot",
     [](Situation& s) {
         s.offer(udmabuf);
         s.spec.size = {8192, 8192};
         s.strict("viewer", "v3d_egl", sample).max_size = {4096, 4096};
     },
     nobody({"viewer"}, Demand::size, "leave viewer out -> XR24 LINEAR")},
    {"a rung that system memory does not reach",
     [](Situation& s) {
         system_memory(s);
         s.strict("viewer", "intel_gen12_egl", sample).minimum_rung = Rung::linear;
     },
     nobody({"viewer"}, Demand::rung, "drop viewer's minimum rung -> XR24 LINEAR from udmabuf")},
    {"several demands of one participant are dropped together",
     [](Situation& s) {
         system_memory(s);
         auto& viewer = s.strict("viewer", "intel_gen12_egl", sample);
         viewer.minimum_rung = Rung::linear;
         viewer.max_size = {64, 64};
         viewer.modifiers = {y_tiled};
     },
     nobody({"viewer"}, Demand::modifier, "drop viewer's modifiers and size limit and minimum rung")},
};

const Scenario implicit_and_opaque[] = {
    {"the implicit layout serves its own driver",
     [](Situation& s) {
         s.offer(gbm, "virgl_egl", {.implicit = true});
         s.party("renderer", "virgl_egl", render);
         s.party("compositor", "virgl_egl", sample);
     },
     image(gbm, second, "XR24", modifier_invalid, Rung::tiled)},
    {"the implicit layout of one driver is nothing to another",
     [](Situation& s) {
         s.offer(gbm, "virgl_egl", {.implicit = true});
         s.strict("renderer", "virgl_egl", render);
         s.strict("viewer", "intel_gen12_egl", sample);
     },
     nobody({"viewer"}, Demand::device, "leave viewer out -> XR24 INVALID")},
    {"an implicit layout is never taken for LINEAR",
     [](Situation& s) {
         s.offer(gbm, "virgl_egl", {.implicit = true});
         s.strict("panel", "virtio_kms", {});
     },
     nobody({"panel"}, Demand::modifier, "leave panel out -> XR24 INVALID")},
    {"LINEAR is never taken for an implicit layout",
     [](Situation& s) {
         s.offer(udmabuf);
         s.strict("renderer", "virgl_egl", render);
     },
     nobody({"renderer"}, Demand::modifier, "leave renderer out -> XR24 LINEAR")},
    {"a driver without modifiers gets the implicit layout of its device",
     [](Situation& s) {
         s.offer(gbm, "virgl_egl", {.implicit = true});
         system_memory(s);
         s.party("renderer", "virgl_egl", render);
     },
     image(gbm, second, "XR24", modifier_invalid, Rung::tiled)},
    {"explicit layouts go before the implicit one of the same driver",
     [](Situation& s) {
         s.offer(gbm, "intel_gen12_egl", {.implicit = true});
         s.party("renderer", "intel_gen12_egl", render);
     },
     image(gbm, first, "XR24", intel_clear, Rung::tiled)},
    {"a request for LINEAR is not served with the implicit layout",
     [](Situation& s) {
         s.offer(gbm, "virgl_egl", {.implicit = true});
         s.spec.modifiers = {modifier_linear};
         s.party("renderer", "virgl_egl", render);
     },
     nobody({}, Demand::modifier, "drop the request's modifiers -> XR24 INVALID")},
    {"who names INVALID without a table takes it",
     [](Situation& s) {
         s.offer(gbm, "virgl_egl", {.implicit = true});
         s.party("viewer", "", sample).modifiers = {modifier_linear, modifier_invalid};
     },
     image(gbm, second, "XR24", modifier_invalid, Rung::tiled)},
    {"the implicit layout of a software driver is no better than linear",
     [](Situation& s) {
         s.offer(gbm, "llvmpipe_egl", {.implicit = true});
         s.party("renderer", "llvmpipe_egl", render).minimum_rung = Rung::tiled;
     },
     nobody({"renderer"}, Demand::rung, "drop renderer's minimum rung -> XR24")},
    {"opaque memory serves the same device and driver",
     [](Situation& s) {
         s.offer(vulkan_opaque, "nvidia_headless_vulkan");
         s.party("renderer", "nvidia_headless_vulkan", render);
         s.party("viewer", "nvidia_headless_vulkan", sample);
     },
     image(vulkan_opaque, "", "XR24", modifier_invalid, Rung::tiled)},
    {"opaque memory of another device is nothing",
     [](Situation& s) {
         s.offer(vulkan_opaque, "nvidia_headless_vulkan");
         s.strict("renderer", "nvidia_headless_vulkan", render);
         s.strict("viewer", "nvidia_vulkan", sample);
     },
     nobody({"viewer"}, Demand::device, "leave viewer out -> XR24 INVALID from vulkan_opaque on NVIDIA")},
    {"opaque memory of another driver version is nothing",
     [](Situation& s) {
         s.offer(vulkan_opaque, "nvidia_headless_vulkan").id.driver_uuid[0] ^= 1;
         s.strict("viewer", "nvidia_headless_vulkan", sample);
     },
     nobody({"viewer"}, Demand::device, "leave viewer out -> XR24 INVALID")},
    {"the H200's Vulkan and GL share opaque memory",
     [](Situation& s) {
         s.offer(vulkan_opaque, "nvidia_h200_vulkan");
         s.party("renderer", "nvidia_h200_vulkan", render | storage);
         s.party("viewer", "nvidia_h200_gl_memory", sample);
     },
     image(vulkan_opaque, "", "XR24", modifier_invalid, Rung::tiled)},
    {"the H200's EGL takes no opaque memory, however many block-linear layouts it lists",
     [](Situation& s) {
         s.offer(vulkan_opaque, "nvidia_h200_vulkan");
         s.strict("renderer", "nvidia_h200_vulkan", render);
         s.strict("viewer", "nvidia_h200_egl", sample);
     },
     nobody({"viewer"}, Demand::memory_kind, "leave viewer out -> XR24 INVALID from vulkan_opaque")},
    {"a block-linear layout that the H200 lists is picked by preference",
     [](Situation& s) {
         s.offer(gbm, "nvidia_h200_egl");
         s.party("renderer", "nvidia_h200_egl", render).modifiers = {block_linear, modifier_linear};
     },
     image(gbm, "", "XR24", block_linear, Rung::tiled)},
    {"Vulkan and GL of one software driver share opaque memory",
     [](Situation& s) {
         s.offer(vulkan_opaque, "lavapipe_vulkan");
         s.party("renderer", "lavapipe_vulkan", render);
         s.party("viewer", "llvmpipe_gl_memory", sample);
     },
     image(vulkan_opaque, "", "XR24", modifier_invalid, Rung::tiled)},
    {"the CPU cannot read opaque memory and gets a copy",
     [](Situation& s) {
         s.offer(vulkan_opaque, "nvidia_headless_vulkan");
         system_memory(s);
         s.strict("renderer", "nvidia_headless_vulkan", render);
         s.party("recorder", "cpu", cpu_read);
     },
     image(vulkan_opaque, "", "XR24", modifier_invalid, Rung::tiled).copies({"recorder"})},
    {"a dma-buf is preferred to opaque memory",
     [](Situation& s) {
         s.offer(vulkan_opaque, "nvidia_vulkan");
         s.offer(vulkan, "nvidia_vulkan");
         s.party("renderer", "nvidia_vulkan", render);
     },
     image(vulkan, second, "XR24", block_linear, Rung::tiled)},
    {"who imports dma-bufs only cannot have opaque memory",
     [](Situation& s) {
         s.offer(vulkan_opaque, "nvidia_vulkan");
         s.strict("viewer", "nvidia_egl", sample);
     },
     nobody({"viewer"}, Demand::memory_kind, "leave viewer out")},
    {"a request that the CPU reads does not take opaque memory",
     [](Situation& s) {
         s.offer(vulkan_opaque, "nvidia_headless_vulkan");
         s.formats.back().front().usage = Usage::all();
         for (Capability& row : s.formats.back()) row.usage = Usage::all();
         s.spec.usage = cpu_read;
         s.party("renderer", "nvidia_headless_vulkan", render);
     },
     nobody({}, Demand::memory_kind, "drop the request's CPU access -> XR24 INVALID")},
};

const Scenario processors[] = {
    {"two programs without a GPU share a memfd",
     [](Situation& s) {
         intel(s);
         system_memory(s);
         s.party("writer", "cpu", cpu_write);
         s.party("reader", "cpu", cpu_read);
     },
     image(memfd, "", "XR24", modifier_linear, Rung::system_dma_buf)},
    {"a software GPU that imports memfds shares them with the CPU",
     [](Situation& s) {
         system_memory(s);
         s.party("writer", "cpu", cpu_write);
         s.party("viewer", "llvmpipe_egl", sample);
     },
     image(udmabuf, "", "XR24", modifier_linear, Rung::system_dma_buf)},
    {"where there are only memfds, the software GPU takes one",
     [](Situation& s) {
         s.offer(memfd);
         s.party("writer", "cpu", cpu_write);
         s.party("viewer", "llvmpipe_egl", sample);
     },
     image(memfd, "", "XR24", modifier_linear, Rung::system_dma_buf)},
    {"a GPU cannot import a memfd",
     [](Situation& s) {
         s.offer(memfd);
         s.strict("writer", "cpu", cpu_write);
         s.strict("viewer", "intel_gen12_egl", sample);
     },
     nobody({"viewer"}, Demand::memory_kind, "leave viewer out -> XR24 LINEAR from memfd")},
    {"a CPU that reads what a GPU draws gets LINEAR of the GPU where it can be mapped",
     [](Situation& s) {
         intel(s);
         system_memory(s);
         s.party("renderer", "intel_gen12_egl", render);
         s.party("recorder", "cpu", cpu_read);
     },
     image(gbm, first, "XR24", modifier_linear, Rung::linear)},
    {"a CPU that reads what an unmappable GPU draws gets system memory",
     [](Situation& s) {
         amd(s);
         system_memory(s);
         s.party("renderer", "amd_rdna2_egl", render);
         s.party("recorder", "cpu", cpu_read);
     },
     image(udmabuf, "", "XR24", modifier_linear, Rung::system_dma_buf)},
    {"a CPU reader of tiles gets a copy",
     [](Situation& s) {
         amd(s);
         system_memory(s);
         s.party("renderer", "amd_rdna2_egl", render).minimum_rung = Rung::tiled;
         s.party("recorder", "cpu", cpu_read);
     },
     image(gbm, second, "XR24", amd_dcc, Rung::tiled).copies({"recorder"})},
    {"a program that takes memfds only cannot have the dma-buf of a GPU",
     [](Situation& s) {
         intel(s);
         s.strict("renderer", "intel_gen12_egl", render);
         s.party("recorder", table_of({{MemoryKind::memfd, fourcc("XR24"), modifier_linear, 1, false, usage_cpu, {}}}),
                 cpu_read)
             .minimum_rung = Rung::linear;
     },
     nobody({"recorder"}, Demand::memory_kind, "leave recorder out")},
    {"a program that only reads dma-bufs does not get a memfd",
     [](Situation& s) {
         system_memory(s);
         s.party("recorder", table_of({{MemoryKind::dma_buf, fourcc("XR24"), modifier_linear, 1, false, usage_cpu, {}}}),
                 cpu_read);
     },
     image(udmabuf, "", "XR24", modifier_linear, Rung::system_dma_buf)},
};

const Scenario formats[] = {
    {"NV12 is sampled through external textures",
     [](Situation& s) {
         s.offer(udmabuf);
         s.spec.format = fourcc("NV12");
         s.party("compositor", "mali_panfrost_egl", sample);
         s.party("player", "llvmpipe_egl", sample);
     },
     image(udmabuf, "", "NV12", modifier_linear, Rung::system_dma_buf)},
    {"NV12 cannot be had with sampler2D",
     [](Situation& s) {
         intel(s);
         s.spec.format = fourcc("NV12");
         s.strict("viewer", "intel_gen12_egl", sample).no_external_only = true;
     },
     nobody({"viewer"}, Demand::external_only, "drop viewer's refusal of external textures -> NV12")},
    {"P010 falls to NV12 when the encoder has no ten bits",
     [](Situation& s) {
         intel(s);
         s.spec.format = fourcc("P010");
         s.alternatives = {fourcc("NV12")};
         s.party("player", "intel_gen12_egl", sample);
         s.party("encoder", "v4l2_encoder", encode);
     },
     image(gbm, first, "NV12", modifier_linear, Rung::linear)},
    {"without an alternative the encoder is in the way",
     [](Situation& s) {
         intel(s);
         s.spec.format = fourcc("P010");
         s.strict("player", "intel_gen12_egl", sample);
         s.strict("encoder", "v4l2_encoder", encode);
     },
     nobody({"encoder"}, Demand::format, "leave encoder out -> P010 INTEL Y_TILED_GEN12_MC_CCS")},
    {"three planes go to an encoder through system memory",
     [](Situation& s) {
         system_memory(s);
         s.spec.format = fourcc("YU12");
         s.party("player", "adreno_freedreno_egl", sample);
         s.party("encoder", "v4l2_encoder", encode);
         s.party("writer", "cpu", cpu_write);
     },
     image(udmabuf, "", "YU12", modifier_linear, Rung::system_dma_buf)},
    {"preferences of several participants are summed",
     [](Situation& s) {
         intel(s);
         s.alternatives = {fourcc("AR24"), fourcc("AB24")};
         s.party("a", "", sample).formats = {fourcc("XR24"), fourcc("AR24"), fourcc("AB24")};
         s.party("b", "", sample).formats = {fourcc("AR24"), fourcc("AB24"), fourcc("XR24")};
         s.party("c", "", sample).formats = {fourcc("AR24"), fourcc("XR24")};
         s.party("d", "", sample).formats = {fourcc("AR24"), fourcc("XR24")};
     },
     image(gbm, first, "AR24", intel_clear, Rung::tiled).of_any()},
    {"a preferred format goes before a better layout",
     [](Situation& s) {
         intel(s);
         s.spec.format = fourcc("RG16");
         s.alternatives = {fourcc("XR24")};
         s.party("renderer", "intel_gen12_egl", render);
     },
     image(gbm, first, "RG16", y_tiled, Rung::tiled)},
    {"formats that exclude each other",
     [](Situation& s) {
         intel(s);
         s.alternatives = {fourcc("AB24")};
         s.strict("a", "intel_gen12_egl", sample).formats = {fourcc("XR24")};
         s.strict("b", "intel_gen12_egl", sample).formats = {fourcc("AB24")};
     },
     nobody({"b"}, Demand::format, "drop b's formats -> XR24")},
    {"a format that no exporter makes gives way to the alternative",
     [](Situation& s) {
         s.offer(gbm, "virgl_egl", {.implicit = true});
         s.spec.format = fourcc("NV12");
         s.alternatives = {fourcc("P010"), fourcc("AB24")};
         s.party("renderer", "virgl_egl", render);
     },
     image(gbm, second, "AB24", modifier_invalid, Rung::tiled)},
    {"a format that nobody makes is nobody's fault",
     [](Situation& s) {
         s.offer(gbm, "virgl_egl", {.implicit = true});
         s.spec.format = fourcc("NV12");
         s.party("renderer", "virgl_egl", render);
     },
     nobody({}, {}, "")},
};

const Scenario trials[] = {
    {"a layout that showed wrong pixels is not used again",
     [](Situation& s) {
         intel(s);
         s.disproof = disproved(intel_clear, "viewer");
         s.party("renderer", "intel_gen12_egl", render);
         s.party("viewer", "intel_gen12_egl", sample);
     },
     image(gbm, first, "XR24", intel_ccs, Rung::tiled)},
    {"a layout that could not be allocated is not used again",
     [](Situation& s) {
         intel(s);
         s.disproof = disproved(intel_clear, "");
         s.party("renderer", "intel_gen12_egl", render);
     },
     image(gbm, first, "XR24", intel_ccs, Rung::tiled)},
    {"who cannot use what it claims is in the way",
     [](Situation& s) {
         s.offer(udmabuf);
         s.disproof = disproved(modifier_linear, "viewer");
         s.strict("renderer", "intel_gen12_egl", render);
         s.strict("viewer", "amd_rdna2_egl", sample);
     },
     nobody({"viewer"}, Demand::proof, "leave viewer out -> XR24 LINEAR")},
    {"who cannot use what it claims gets a copy where another layout works for it",
     [](Situation& s) {
         intel(s);
         s.disproof = disproved(intel_clear, "viewer");
         s.spec.modifiers = {intel_clear};
         s.party("renderer", "intel_gen12_egl", render);
         s.party("viewer", "intel_gen12_egl", sample);
     },
     image(gbm, first, "XR24", intel_clear, Rung::tiled).copies({"viewer"})},
    {"when nothing can be allocated no participant is blamed",
     [](Situation& s) {
         s.offer(udmabuf);
         s.disproof = disproved(modifier_linear, "");
         s.strict("renderer", "intel_gen12_egl", render);
         s.strict("viewer", "amd_rdna2_egl", sample);
     },
     nobody({}, Demand::proof, "")},
    {"a change that is known not to help is not proposed",
     [](Situation& s) {
         strange(s, nobodys);
         system_memory(s);
         s.disproof = disproved(nobodys, "renderer");
         s.strict("renderer", "", render).modifiers = {nobodys};
         s.strict("viewer", "intel_gen12_egl", sample);
     },
     nobody({"renderer"}, Demand::modifier, "drop renderer's modifiers -> XR24 LINEAR from udmabuf")},
    {"a copy is not made from an image that does not work for the others",
     [](Situation& s) {
         amd(s);
         system_memory(s);
         s.disproof = disproved(amd_dcc, "renderer");
         s.party("renderer", "amd_rdna2_egl", render).minimum_rung = Rung::tiled;
         s.party("viewer", "intel_gen12_egl", sample);
     },
     image(gbm, second, "XR24", amd_retiled, Rung::tiled).copies({"viewer"})},
};

const Scenario copies[] = {
    {"one of three gets a copy and binds nobody",
     [](Situation& s) {
         geforce(s);
         system_memory(s);
         s.party("renderer", "nvidia_egl", render);
         s.party("panel", "nvidia_kms", scanout).minimum_rung = Rung::tiled;
         s.party("viewer", "amd_rdna2_egl", sample);
     },
     image(gbm, second, "XR24", block_linear, Rung::tiled).copies({"viewer"}).with(1)},
    {"two of four get copies",
     [](Situation& s) {
         geforce(s);
         system_memory(s);
         s.party("renderer", "nvidia_egl", render).minimum_rung = Rung::tiled;
         s.party("viewer", "intel_gen12_egl", sample);
         s.party("compositor", "nvidia_egl", sample);
         s.party("recorder", "cpu", cpu_read);
     },
     image(gbm, second, "XR24", nvidia_compressed, Rung::tiled).copies({"viewer", "recorder"})},
    {"a rung above blit refuses copies for all",
     [](Situation& s) {
         geforce(s);
         system_memory(s);
         s.spec.minimum_rung = Rung::system_dma_buf;
         s.party("renderer", "nvidia_egl", render).minimum_rung = Rung::tiled;
         s.party("viewer", "intel_gen12_egl", sample);
     },
     nobody({"viewer"}, Demand::modifier, "leave viewer out")},
    {"a rung of blit accepts them",
     [](Situation& s) {
         geforce(s);
         system_memory(s);
         s.spec.minimum_rung = Rung::blit;
         s.party("renderer", "nvidia_egl", render).minimum_rung = Rung::tiled;
         s.party("viewer", "intel_gen12_egl", sample).minimum_rung = Rung::blit;
     },
     image(gbm, second, "XR24", nvidia_compressed, Rung::tiled).copies({"viewer"})},
    {"who draws gets no copy, because nobody would see it",
     [](Situation& s) {
         geforce(s);
         system_memory(s);
         s.party("renderer", "nvidia_egl", render).minimum_rung = Rung::tiled;
         s.party("painter", "intel_gen12_egl", render);
     },
     nobody({"painter"}, Demand::modifier, "leave painter out")},
    {"who can import nothing cannot have a copy either",
     [](Situation& s) {
         intel(s);
         system_memory(s);
         s.party("renderer", "intel_gen12_egl", render);
         s.party("stranger", table_of({}), sample);
     },
     nobody({"stranger"}, Demand::memory_kind, "leave stranger out -> XR24")},
    {"what one participant cannot scan out is copied for it without asking for scanout",
     [](Situation& s) {
         intel(s, "");
         system_memory(s);
         s.party("renderer", "intel_gen12_egl", render).minimum_rung = Rung::tiled;
         s.party("panel", "intel_gen12_kms", scanout);
     },
     image(gbm, first, "XR24", intel_clear, Rung::tiled).copies({"panel"})},
};

const Scenario strangers[] = {
    {"one participant without a table takes what the driver prefers",
     [](Situation& s) {
         strange(s, nobodys);
         s.party("program", "", sample).minimum_rung = Rung::tiled;
     },
     image(gbm, third, "XR24", nobodys, Rung::tiled)},
    {"modifiers of vendors that nobody knows are compared as numbers",
     [](Situation& s) {
         strange(s, nobodys);
         s.party("a", table_of({{MemoryKind::dma_buf, fourcc("XR24"), nobodys, 1, false, {}, {}}}), sample);
         s.party("b", "", sample).modifiers = {Modifier{1}, nobodys};
     },
     image(gbm, third, "XR24", nobodys, Rung::tiled)},
    {"a modifier one bit off is another",
     [](Situation& s) {
         strange(s, nobodys);
         s.party("a", table_of({{MemoryKind::dma_buf, fourcc("XR24"), Modifier{nobodys.value ^ 1}, 1, false, {}, {}}}), sample);
     },
     nobody({"a"}, Demand::modifier, "leave a out -> XR24 0xfedcba9876543210 from gbm on /dev/dri/renderD130, rung tiled")},
    {"a table without rows takes nothing",
     [](Situation& s) {
         intel(s);
         s.party("empty", table_of({}), {});
     },
     nobody({"empty"}, Demand::memory_kind, "leave empty out")},
    {"rows that say the same twice count once",
     [](Situation& s) {
         strange(s, y_tiled);
         s.formats.back().push_back(s.formats.back().front());
         s.offers.back().rows = s.formats.back();
         s.party("a",
                 table_of({{MemoryKind::dma_buf, fourcc("XR24"), y_tiled, 1, false, sample, {4096, 4096}},
                           {MemoryKind::dma_buf, fourcc("XR24"), y_tiled, 1, false, render, {2048, 2048}}}),
                 sample | render);
     },
     image(gbm, third, "XR24", y_tiled, Rung::tiled)},
    {"rows that contradict each other mean the stricter",
     [](Situation& s) {
         strange(s, y_tiled);
         s.party("a",
                 table_of({{MemoryKind::dma_buf, fourcc("XR24"), y_tiled, 1, false, sample, {4096, 4096}},
                           {MemoryKind::dma_buf, fourcc("XR24"), y_tiled, 1, true, sample, {1024, 1024}}}),
                 sample);
     },
     nobody({"a"}, Demand::size, "leave a out")},
    {"a usage that is not known is not held against a row",
     [](Situation& s) {
         strange(s, y_tiled, Usage::all());
         s.party("a", table_of({{MemoryKind::dma_buf, fourcc("XR24"), y_tiled, 0, false, {}, {}}}), render | scanout);
     },
     image(gbm, third, "XR24", y_tiled, Rung::tiled)},
    {"where there are no exporters nobody is to blame", [](Situation& s) { s.party("a", "intel_gen12_egl", sample); },
     nobody({}, {}, "")},
    {"sixteen programs on one GPU share its tiles",
     [](Situation& s) {
         intel(s);
         for (int i = 0; i < 16; ++i) s.party(std::string(1, static_cast<char>('a' + i)), "intel_gen12_egl", sample);
     },
     image(gbm, first, "XR24", intel_clear, Rung::tiled)},
    {"the one of sixteen that differs is named",
     [](Situation& s) {
         intel(s);
         for (int i = 0; i < 15; ++i) s.strict(std::string(1, static_cast<char>('a' + i)), "intel_gen12_egl", render);
         s.strict("odd", "nvidia_egl", render);
     },
     nobody({"odd"}, Demand::modifier, "leave odd out -> XR24 INTEL Y_TILED_GEN12_RC_CCS_CC")},
    {"many that must leave are counted and the result is still said",
     [](Situation& s) {
         geforce(s);
         s.strict("renderer", "nvidia_egl", render);
         for (int i = 0; i < 14; ++i)
             s.strict("a participant with a rather long name " + std::to_string(10 + i), "virgl_egl", sample);
         s.parties.resize(5);
     },
     nobody({"a participant with a rather long name 10", "a participant with a rather long name 11",
             "a participant with a rather long name 12", "a participant with a rather long name 13"},
            Demand::modifier, "rung tiled")},
    {"backends that the request leaves out are not used",
     [](Situation& s) {
         intel(s);
         s.offer(dma_heap);
         system_memory(s);
         s.spec.backends.add(dma_heap);
         s.party("renderer", "intel_gen12_egl", render);
     },
     image(dma_heap, "", "XR24", modifier_linear, Rung::system_dma_buf)},
    {"a buffer for a software device and the CPU is system memory that both can have",
     [](Situation& s) {
         s.offer(vulkan_opaque, "lavapipe_vulkan");
         system_memory(s);
         a_buffer(s);
         s.strict("writer", "lavapipe_vulkan", storage);
         s.strict("reader", "cpu", cpu_read);
     },
     image(udmabuf, "", "BLOB", modifier_linear, Rung::system_dma_buf)},
    {"a buffer of one GPU is linear, whatever its memory is called",
     [](Situation& s) {
         s.offer(vulkan_opaque, "nvidia_h200_vulkan");
         s.offer(memfd);
         a_buffer(s);
         s.strict("solver", "nvidia_h200_vulkan", storage);
         s.strict("viewer", "nvidia_h200_gl_memory", sample);
     },
     image(vulkan_opaque, "", "BLOB", modifier_invalid, Rung::linear)},
    {"the CPU gets a copy of a GPU's buffer",
     [](Situation& s) {
         s.offer(vulkan_opaque, "nvidia_h200_vulkan");
         s.offer(memfd);
         a_buffer(s);
         s.strict("solver", "nvidia_h200_vulkan", storage);
         s.party("logger", "cpu", cpu_read);
     },
     image(vulkan_opaque, "", "BLOB", modifier_invalid, Rung::linear).copies({"logger"})},
    {"two GPUs without memory in common share a buffer through a copy",
     [](Situation& s) {
         s.offer(vulkan_opaque, "nvidia_h200_vulkan");
         s.offer(vulkan_opaque, "lavapipe_vulkan");
         s.offer(memfd);
         a_buffer(s);
         s.strict("solver", "nvidia_h200_vulkan", storage);
         s.party("checker", "lavapipe_vulkan", sample);
     },
     image(vulkan_opaque, "", "BLOB", modifier_invalid, Rung::linear).copies({"checker"})},
    {"EGL imports pictures only",
     [](Situation& s) {
         system_memory(s);
         a_buffer(s);
         s.strict("writer", "cpu", cpu_write);
         s.strict("compositor", "llvmpipe_egl", sample);
     },
     nobody({"compositor"}, Demand::format, "leave compositor out -> BLOB LINEAR from udmabuf")},
    {"nothing tiled is made of a buffer",
     [](Situation& s) {
         s.offer(vulkan_opaque, "nvidia_h200_vulkan");
         a_buffer(s);
         s.spec.minimum_rung = Rung::tiled;
         s.strict("solver", "nvidia_h200_vulkan", storage);
     },
     nobody({}, std::nullopt, "drop the request's minimum rung -> BLOB INVALID from vulkan_opaque")},
    {"a GPU reads a buffer, an encoder does not",
     [](Situation& s) {
         s.offer(udmabuf);
         a_buffer(s);
         s.strict("writer", "cpu", cpu_write);
         s.strict("encoder", "v4l2_encoder", encode);
     },
     nobody({"encoder"}, Demand::format, "leave encoder out")},
    {"a request can be in its own way",
     [](Situation& s) {
         intel(s);
         s.spec.backends.add(vulkan);
         s.spec.device = "no such GPU";
         s.party("renderer", "intel_gen12_egl", render);
     },
     nobody({}, Demand::backend, "drop the request's backends and device -> XR24 INTEL")},
};

// --- the checks ------------------------------------------------------------------------------------

class ScenarioTest : public ::testing::TestWithParam<Scenario> {
protected:
    static void check_served(const Situation& situation, const Plan& out, const Expected& expected)
    {
        ASSERT_FALSE(out.choices.empty()) << out.nearest.view();
        const Choice& choice = out.choices.front();
        const Exporter& device = *situation.offers[choice.offer].device;
        EXPECT_EQ(device.backend, expected.backend) << name(device.backend);
        EXPECT_EQ(device.node.view(), expected.node);
        EXPECT_EQ(to_string(choice.format), to_string(expected.format));
        EXPECT_EQ(situation.names(out.copied), expected.copied);
        EXPECT_EQ(out.nearest.empty(), expected.copied.empty()) << out.nearest.view();
        EXPECT_EQ(out.culprits.empty(), expected.copied.empty());
        ASSERT_EQ(choice.modifiers.empty(), expected.left_to_driver);
        if (expected.left_to_driver) return;
        EXPECT_EQ(to_string(choice.modifiers[0]), to_string(expected.modifier));
        EXPECT_EQ(best_rung(device, choice.format, choice.modifiers[0]), expected.rung);
    }
    static void check_blame(const Situation& situation, const Plan& out, const Expected& expected)
    {
        EXPECT_EQ(situation.names(out.culprits), expected.culprits);
        EXPECT_NE(out.nearest.view().find(expected.nearest), std::string_view::npos) << out.nearest.view();
        EXPECT_EQ(out.nearest.empty(), expected.nearest.empty()) << out.nearest.view();
        if (!out.nearest.empty()) {
            EXPECT_NE(out.nearest.view().find(", rung "), std::string_view::npos) << "cut: " << out.nearest.view();
        }
        if (!expected.demand) return;
        const auto named = [&](const Removal& r) {
            const bool who = r.who.empty() || std::ranges::find(expected.culprits, r.who.view()) != expected.culprits.end();
            return who && r.demand == *expected.demand && !r.reason.empty();
        };
        EXPECT_TRUE(std::ranges::any_of(out.removals, named)) << "nobody fails by " << name(*expected.demand);
    }
};

TEST_P(ScenarioTest, comes_out_as_stated)
{
    Situation situation;
    GetParam().given(situation);
    const Expected& expected = GetParam().expected;
    const Plan out = situation.negotiate();
    std::string removals;
    for (const Removal& r : out.removals) removals += std::string(r.who.view()) + ": " + std::string(r.reason.view()) + "\n";
    SCOPED_TRACE(removals);
    for (const Candidate& refused : out.refused) EXPECT_FALSE(refused.reason.empty()) << "an offer without a reason";
    if (expected.rules) {
        EXPECT_EQ(std::max(out.rules.stride_alignment, 1u), expected.rules->stride_alignment);
        EXPECT_EQ(std::max(out.rules.offset_alignment, 1u), expected.rules->offset_alignment);
    }
    if (expected.served) return check_served(situation, out, expected);
    EXPECT_TRUE(out.choices.empty());
    check_blame(situation, out, expected);
}

std::string as_name(const ::testing::TestParamInfo<Scenario>& info)
{
    std::string out;
    for (const char c : std::string_view(info.param.says))
        if (std::isalnum(static_cast<unsigned char>(c))) out += c;
        else if (!out.empty() && out.back() != '_') out += '_';
    return out;
}

#define SCENARIOS(list) INSTANTIATE_TEST_SUITE_P(list, ScenarioTest, ::testing::ValuesIn(list), as_name)
SCENARIOS(one_gpu);
SCENARIOS(several_gpus);
SCENARIOS(rules_and_sizes);
SCENARIOS(implicit_and_opaque);
SCENARIOS(processors);
SCENARIOS(formats);
SCENARIOS(trials);
SCENARIOS(copies);
SCENARIOS(strangers);
#undef SCENARIOS

} // namespace
} // namespace dmb::test
