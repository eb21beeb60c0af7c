// SPDX-License-Identifier: MIT
// dmabrokerctl and a broker of its own.
#pragma once
#include "tests/support/broker_process.hpp"
#include "tests/support/fixture.hpp"
#include "tests/tools/png_fixture.hpp"
#include "tests/tools/run_tool.hpp"

#include <fstream>
#include <nlohmann/json.hpp>
#include <png.h>
#include <sstream>

namespace dmb::test {

using Json = nlohmann::json;

inline std::string contents(const std::string& path)
{
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

class CtlTest : public FdTest {
protected:
    explicit CtlTest(std::vector<std::string> broker_arguments = {"--no-gpu"}) : broker_(std::move(broker_arguments)) {}
    std::string path(const std::string& name) const { return broker_.folder() + "/" + name; }
    ToolResult ctl(std::vector<std::string> arguments, const std::string& input = {}) const
    {
        arguments.insert(arguments.begin(), {"--socket", broker_.socket()});
        return run_tool(std::move(arguments), input);
    }
    Json json(std::vector<std::string> arguments) const
    {
        arguments.insert(arguments.begin(), "--json");
        return Json::parse(ctl(std::move(arguments)).out);
    }
    std::string put(const PngFile& file, std::vector<std::string> more = {}) const
    {
        write_png(path("in.png"), file);
        more.insert(more.begin(), {"put", path("in.png")});
        const ToolResult result = ctl(more);
        EXPECT_EQ(result.status, 0) << result.err;
        return result.last_word();
    }
    PngFile get(const std::string& token) const
    {
        const ToolResult result = ctl({"get", token, path("out.png")});
        EXPECT_EQ(result.status, 0) << result.err;
        return read_png(path("out.png"));
    }
    void expect_round_trip(const PngFile& file) const
    {
        const PngFile back = get(put(file));
        EXPECT_EQ(back.colour, PNG_COLOR_TYPE_RGB_ALPHA);
        EXPECT_EQ(back.bits, file.bits == 16 ? 16 : 8);
        EXPECT_EQ(back.width, file.width);
        EXPECT_EQ(back.height, file.height);
        EXPECT_TRUE(back.samples == file.rgba())
            << file.width << "x" << file.height << " colour " << file.colour << " bits " << file.bits;
    }
    ToolResult put_bytes(const std::string& bytes, std::vector<std::string> more = {}) const
    {
        std::ofstream(path("in.bin"), std::ios::binary) << bytes;
        more.insert(more.begin(), {"put", "--bytes", path("in.bin")});
        return ctl(more);
    }
    std::string get_bytes(const std::string& token) const
    {
        const ToolResult result = ctl({"get", token, path("out.bin")});
        EXPECT_EQ(result.status, 0) << result.err;
        return contents(path("out.bin"));
    }
    std::size_t images() const { return json({"list"}).at("snapshot").at("images").size(); }

    BrokerProcess broker_;
};

} // namespace dmb::test
