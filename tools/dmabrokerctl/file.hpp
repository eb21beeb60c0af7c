// SPDX-License-Identifier: MIT
// Files named on the command line. "-" is a standard stream.
#pragma once
#include "proto/base/unique_fd.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>

namespace dmb::ctl {

struct CloseFile {
    void operator()(FILE* file) const
    {
        if (file != stdin && file != stdout) std::fclose(file);
    }
};
using File = std::unique_ptr<FILE, CloseFile>;

/// Bytes for a buffer: 1 to UINT32_MAX of them, and how many is known before the first is read.
class InputFile {
public:
    /// What has no size of its own, such as a pipe, is first read to its end.
    static Result<InputFile> open(const std::string& path);
    std::uint32_t size() const { return size_; }
    /// All of them, once.
    Result<> read(std::byte* to) const;

private:
    InputFile(std::string path, UniqueFd fd, std::uint32_t size) : path_(std::move(path)), fd_(std::move(fd)), size_(size) {}
    std::string path_;
    UniqueFd fd_;
    std::uint32_t size_;
};

/// Written beside the target and renamed at the end: a failure leaves no half file behind.
class OutputFile {
public:
    /// What exists and is not a regular file is written in place.
    static Result<OutputFile> create(const std::string& path);
    OutputFile(OutputFile&&) noexcept;
    ~OutputFile();

    FILE* stream() const { return file_.get(); }
    Result<> write(std::span<const std::byte>);
    Result<> finish();

private:
    OutputFile(std::string path, std::string temporary, File file);
    std::unexpected<Error> broken() const;
    std::string path_;
    std::string temporary_; ///< empty: written in place
    File file_;
};

} // namespace dmb::ctl
