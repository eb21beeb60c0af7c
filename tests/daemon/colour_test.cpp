// SPDX-License-Identifier: MIT
// Colour is the request's: no driver, pool, copy or successor changes it.
#include "tests/daemon/joining_fixture.hpp"

namespace dmb::test {
namespace {

/// HDR10, with all that can be said beside it.
Colour hdr10()
{
    Colour colour{Primaries::bt2020, Transfer::pq, MatrixCoefficients::identity};
    colour.alpha = AlphaMode::premultiplied;
    colour.mastering = {*gamut_of(Primaries::display_p3), 10'000'000, 50};
    colour.light = {1000, 400};
    return colour;
}

class Colours : public JoiningTest {
protected:
    ImageRequest hdr10_request(Digest producer)
    {
        ImageRequest what = request();
        what.spec.colour = hdr10();
        what.spec.usage = UsageFlag::render;
        what.participants.push_back(party(producer, UsageFlag::render));
        return what;
    }
};

TEST_F(Colours, of_an_image_are_the_request_s_and_of_reused_memory_too)
{
    ImageRequest what = request();
    what.spec.colour = hdr10();
    auto first = allocate(alice, what);
    EXPECT_EQ(first->desc.colour, hdr10());
    EXPECT_EQ(info(first->image).desc.colour, hdr10());
    EXPECT_EQ(open(bob, *mint(alice, first->handle))->desc.colour, hdr10());
    EXPECT_EQ(release(alice, *first), Errc{});
    EXPECT_EQ(allocate(alice)->desc.colour, Colour{}) << "nothing of the last one stays";
}

TEST_F(Colours, stay_in_a_successor)
{
    const auto image = allocate(alice, hdr10_request(state(alice, make_table({tiled, modifier_linear}))));
    const auto bobs = come(bob, token_of(alice, *image), party(state(bob, linear_table)));
    ASSERT_EQ(bobs->reason, "");
    ASSERT_NE(bobs->got.image, image->image);
    EXPECT_EQ(bobs->got.desc.colour, hdr10());
}

TEST_F(Colours, stay_in_a_copy)
{
    const auto image = allocate(alice, hdr10_request(state(alice, make_table({tiled}))));
    const auto bobs = come(bob, token_of(alice, *image), party(state(bob, memfd_table), UsageFlag::cpu_read));
    ASSERT_EQ(bobs->reason, "");
    ASSERT_EQ(bobs->source, image->image);
    EXPECT_EQ(bobs->got.desc.colour, hdr10());
}

TEST_F(Colours, an_alternative_has_them_in_its_own_model)
{
    ImageRequest what = request();
    what.spec.colour = hdr10();
    what.alternatives.push_back(fourcc("P010"));
    Participant decoder;
    decoder.formats.push_back(fourcc("P010"));
    what.participants.push_back(decoder);
    const auto image = allocate(alice, what);
    ASSERT_EQ(image->desc.format, fourcc("P010"));
    EXPECT_EQ(image->desc.colour.matrix, MatrixCoefficients::bt2020_ncl);
    EXPECT_EQ(image->desc.colour.range, ColourRange::limited);
    EXPECT_EQ(image->desc.colour.transfer, Transfer::pq);
    EXPECT_EQ(image->desc.colour.mastering, hdr10().mastering);
}

TEST_F(Colours, that_no_image_can_have_are_refused_whoever_asks)
{
    ImageRequest what = request();
    what.spec.colour.range = ColourRange::limited;
    EXPECT_EQ(allocate(alice, what).error().code, Errc::invalid_argument) << "RGB is full range";
    what.spec.colour = {.siting = ChromaSiting{99}};
    EXPECT_EQ(allocate(alice, what).error().code, Errc::unsupported);
    what.spec.colour = {.primaries = Primaries{99}, .transfer = Transfer{0}};
    EXPECT_EQ(allocate(alice, what)->desc.colour, what.spec.colour) << "others may know it";
    ImageDesc made;
    made.kind = MemoryKind::memfd;
    made.size = {64, 64};
    made.format = fourcc("AB24");
    made.colour.matrix = MatrixCoefficients::bt709;
    EXPECT_EQ(broker->register_image(alice, made, {}, {{}, 0, now}).error().code, Errc::invalid_argument);
}

} // namespace
} // namespace dmb::test
