// SPDX-License-Identifier: MIT
// Finding DRM devices. Nodes are character devices, which only root may make; the pairing is what matters.
#include "daemon/device/drm_nodes.hpp"
#include "tests/support/fixture.hpp"

#include <cstdlib>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace dmb::test {
namespace {

namespace fs = std::filesystem;

class DrmNodes : public FdTest {
protected:
    void SetUp() override
    {
        char pattern[] = "/tmp/dmabroker-unit-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern), nullptr);
        folder = pattern;
        fs::create_directories(folder / "dri");
        fs::create_directories(folder / "char");
        fs::create_directories(folder / "drivers/i915");
    }
    void TearDown() override { fs::remove_all(folder); }

    bool add(const std::string& node, unsigned minor_number, const std::string& device)
    {
        if (::mknod((folder / "dri" / node).c_str(), S_IFCHR | 0600, makedev(226, minor_number)) != 0) return false;
        fs::create_directories(folder / "devices" / device);
        if (!fs::exists(folder / "devices" / device / "driver"))
            fs::create_symlink(folder / "drivers/i915", folder / "devices" / device / "driver");
        const fs::path entry = folder / "char" / ("226:" + std::to_string(minor_number));
        fs::create_directories(entry);
        fs::create_symlink(folder / "devices" / device, entry / "device");
        return true;
    }
    std::vector<DrmDevice> find() { return find_drm_devices(folder / "dri", folder / "char"); }
    fs::path folder;
};

TEST_F(DrmNodes, both_nodes_of_a_device_are_one_device)
{
    if (!add("card0", 0, "a")) GTEST_SKIP() << "making device nodes needs root";
    ASSERT_TRUE(add("card1", 1, "b") && add("renderD128", 128, "b") && add("renderD129", 129, "a"));
    const auto devices = find();
    ASSERT_EQ(devices.size(), 2u);
    EXPECT_EQ(devices[0].primary, folder / "dri/card0");
    EXPECT_EQ(devices[0].render, folder / "dri/renderD129");
    EXPECT_EQ(devices[1].render, folder / "dri/renderD128");
    EXPECT_EQ(devices[1].driver, "i915");
}

TEST_F(DrmNodes, other_files_and_missing_folders_are_ignored)
{
    fs::create_directories(folder / "dri/by-path");
    fs::create_directories(folder / "dri/card9");
    EXPECT_TRUE(find().empty());
    EXPECT_TRUE(find_drm_devices(folder / "nowhere", folder / "char").empty());
}

} // namespace
} // namespace dmb::test
