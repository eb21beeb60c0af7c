// SPDX-License-Identifier: MIT
// Appending a line is one write: a broker that is killed loses nothing that it knew, and never has half a file. It is
// not synced, because that would make clients wait for a disk. Losing it costs trials, so trouble with it is
// a warning, and a line that cannot be read is left out.
#include "daemon/net/proof_file.hpp"

#include "proto/base/log.hpp"
#include "proto/wire/json.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <unistd.h>

namespace dmb {
namespace {

constexpr off_t most_bytes = 16 * 1024 * 1024;

} // namespace

std::string ProofFile::default_folder()
{
    // systemd lists several folders with colons; ours is the only one.
    if (const char* given = std::getenv("CACHE_DIRECTORY"); given && *given) return given;
    if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache == '/') return std::string(cache) + "/dmabroker";
    if (const char* home = std::getenv("HOME"); home && *home == '/') return std::string(home) + "/.cache/dmabroker";
    return {};
}

ProofFile::ProofFile(const std::string& folder)
{
    if (folder.empty()) return;
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    path_ = folder + "/proofs.json";
    file_ = UniqueFd::adopt(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file_) {
        log::warning("results of trials are not kept: {}: {}", path_, std::strerror(errno));
        return;
    }
    std::ifstream before(path_, std::ios::binary);
    char last = '\n';
    if (before.seekg(-1, std::ios::end).get(last) && last != '\n') append_text("\n"); // a line that was cut off ends here
}

std::vector<Proof> ProofFile::load()
{
    std::vector<Proof> out;
    std::ifstream file(path_, std::ios::binary);
    std::size_t unreadable = 0;
    for (std::string line; file_ && std::getline(file, line);) {
        if (auto proof = wire::proof_from_json(line)) out.push_back(*proof);
        else ++unreadable;
    }
    if (unreadable != 0) log::warning("{}: {} lines cannot be read and are left out", path_, unreadable);
    return out;
}

void ProofFile::append(const Proof& proof)
{
    if (!file_) return;
    // Identities come from clients, too. Who fills the file with them makes the broker forget, not the disk full.
    if (::lseek(file_.get(), 0, SEEK_END) > most_bytes) {
        log::warning("{} is full; everything is tried anew after a restart", path_);
        clear();
    }
    append_text(wire::to_json(proof) + "\n");
}

void ProofFile::append_text(std::string_view text)
{
    if (::write(file_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        log::warning("{}: {}", path_, std::strerror(errno));
}

void ProofFile::clear()
{
    if (file_ && ::ftruncate(file_.get(), 0) != 0) log::warning("{}: {}", path_, std::strerror(errno));
}

} // namespace dmb
