// SPDX-License-Identifier: MIT
// Finding DRM devices and Vulkan drivers. Nodes are character devices, which only root may make; the pairing is what matters.
#include "daemon/device/drm_nodes.hpp"
#include "daemon/device/vulkan_drivers.hpp"
#include "tests/support/fixture.hpp"

#include <cstdlib>
#include <fstream>
#include <map>
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

/// Folders and an environment of its own.
class VulkanDrivers : public FdTest {
protected:
    void SetUp() override
    {
        char pattern[] = "/tmp/dmabroker-unit-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern), nullptr);
        folder = pattern;
        for (const char* name : {"VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES", "HOME", "XDG_CONFIG_HOME",
                                 "XDG_CONFIG_DIRS", "XDG_DATA_HOME", "XDG_DATA_DIRS"}) {
            if (const char* value = std::getenv(name)) before[name] = value;
            ::unsetenv(name);
        }
        set("XDG_CONFIG_DIRS", folder / "config");
        set("XDG_DATA_DIRS", (folder / "local").string() + "::" + (folder / "share").string());
    }
    void TearDown() override
    {
        for (const char* name :
             {"VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES", "XDG_CONFIG_DIRS", "XDG_DATA_DIRS"})
            ::unsetenv(name);
        for (const auto& [name, value] : before) ::setenv(name.c_str(), value.c_str(), 1);
        fs::remove_all(folder);
    }
    static void set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }
    std::string add(const std::string& below)
    {
        fs::create_directories((folder / below).parent_path());
        std::ofstream(folder / below) << "{}";
        return folder / below;
    }
    /// Without those of the machine's /etc.
    std::vector<std::string> find() const
    {
        std::vector<std::string> out = find_vulkan_drivers();
        std::erase_if(out, [&](const std::string& file) { return !file.starts_with(folder.string()); });
        return out;
    }
    fs::path folder;
    std::map<std::string, std::string> before;
};

TEST_F(VulkanDrivers, manifests_of_all_folders_are_found_once_and_in_order)
{
    const std::string second = add("share/vulkan/icd.d/b.json"), first = add("share/vulkan/icd.d/a.json");
    const std::string local = add("local/vulkan/icd.d/z.json"), config = add("config/vulkan/icd.d/c.json");
    add("share/vulkan/icd.d/readme.txt");
    fs::create_symlink(first, folder / "local/vulkan/icd.d/again.json");
    EXPECT_EQ(find(), (std::vector{config, first, local, second}));
    set("VK_ADD_DRIVER_FILES", add("extra/x.json"));
    EXPECT_EQ(find().size(), 5u);
}

TEST_F(VulkanDrivers, what_the_environment_chooses_is_all_there_is)
{
    add("share/vulkan/icd.d/a.json");
    const std::string one = add("mine/one.json"), two = add("mine/more/two.json");
    set("VK_ICD_FILENAMES", one + ":" + folder.string() + "/missing.json");
    EXPECT_EQ(find(), std::vector{one});
    set("VK_DRIVER_FILES", one + ":" + folder.string() + "/mine/more");
    set("VK_ADD_DRIVER_FILES", folder / "share/vulkan/icd.d");
    EXPECT_EQ(find(), (std::vector{one, two})) << "as the loader has it";
    set("VK_DRIVER_FILES", folder / "missing.json");
    EXPECT_TRUE(find().empty());
}

} // namespace
} // namespace dmb::test
