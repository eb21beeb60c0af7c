// SPDX-License-Identifier: MIT
// doctor on this machine, and what becomes of probes that end badly.
#include "tests/support/fixture.hpp"
#include "tests/tools/run_tool.hpp"
#include "tools/doctor/child.hpp"
#include "tools/doctor/system_checks.hpp"

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>

namespace dmb::doctor {
namespace {

using namespace std::chrono_literals;

class DoctorTest : public test::FdTest {};

TEST_F(DoctorTest, output_of_a_child_is_read_to_its_end)
{
    const auto output = run({"/bin/sh", "-c", "echo one; echo two"}, 20s);
    ASSERT_TRUE(output);
    EXPECT_EQ(output->text, "one\ntwo\n");
    EXPECT_EQ(output->end, "");
}

TEST_F(DoctorTest, a_child_that_crashes_is_said_to_have_crashed)
{
    const auto output = run({"/bin/sh", "-c", "kill -SEGV $$"}, 20s);
    ASSERT_TRUE(output);
    EXPECT_EQ(output->end, "crashed (Segmentation fault)");
}

TEST_F(DoctorTest, a_child_that_hangs_is_ended)
{
    const auto output = run({"/bin/sh", "-c", "echo begun; exec sleep 1000"}, 1s);
    ASSERT_TRUE(output);
    EXPECT_EQ(output->text, "begun\n");
    EXPECT_EQ(output->end, "did not answer within 1 s");
}

TEST_F(DoctorTest, a_program_that_is_missing_could_not_be_started)
{
    EXPECT_EQ(run({"/no/such/program"}, 20s)->end, "could not be started");
    EXPECT_EQ(run({"/bin/sh", "-c", "exit 3"}, 20s)->end, "failed with status 3");
}

TEST_F(DoctorTest, every_finding_has_a_level_and_those_that_warn_a_remedy)
{
    const auto findings = check_system();
    EXPECT_GE(findings.size(), 6u);
    for (const Finding& f : findings) {
        EXPECT_TRUE(f.level == "ok" || f.level == "warn" || f.level == "fail") << f.level;
        EXPECT_FALSE(f.text.empty());
        EXPECT_EQ(f.remedy.empty(), f.level == "ok") << f.text;
    }
}

TEST_F(DoctorTest, findings_survive_the_way_to_the_parent)
{
    const Finding out{"warn", "egl", "text with \"quotes\" and \n lines", "remedy", {"one", "two"}, true};
    Finding back;
    ASSERT_TRUE(from_json(to_json(out).dump(), back));
    EXPECT_EQ(to_json(back), to_json(out));
    EXPECT_FALSE(from_json("a driver says hello", back));
    EXPECT_FALSE(from_json("42", back));
}

TEST_F(DoctorTest, doctor_tries_this_machine_without_a_broker)
{
    const test::ToolResult result = test::run_tool({"--socket", "/nonexistent/socket", "--json", "doctor"});
    EXPECT_EQ(result.status, 0) << result.err;
    const auto report = nlohmann::json::parse(result.out);
    EXPECT_EQ(report.at("can_share"), true);
    const auto& findings = report.at("findings");
    const auto has = [&](const char* area, const char* level) {
        return std::ranges::any_of(findings, [&](const auto& f) { return f.at("area") == area && f.at("level") == level; });
    };
    EXPECT_TRUE(has("kernel", "ok")) << result.out;
    EXPECT_TRUE(has("memfd", "ok")) << result.out;
    EXPECT_TRUE(has("broker", "warn")) << result.out;
    EXPECT_TRUE(has("cpu", "ok")) << result.out;
    EXPECT_FALSE(has("vulkan", "fail")) << result.out;
    EXPECT_FALSE(has("egl", "fail")) << result.out;
}

} // namespace
} // namespace dmb::doctor
