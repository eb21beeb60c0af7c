// SPDX-License-Identifier: MIT
// Child processes of doctor: a probe that is read until it ends, and a private broker.
#pragma once
#include "proto/base/unique_fd.hpp"

#include <chrono>
#include <string>
#include <sys/types.h>
#include <vector>

namespace dmb::doctor {

/// A child that dies with us. Its destructor ends it.
class Child {
public:
    /// `out`: its standard output; its standard error goes nowhere.
    static Result<Child> start(std::vector<std::string> command, int out);
    Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
    ~Child();
    pid_t pid() const { return pid_; }
    bool ended();
    /// As from waitpid; blocks.
    int wait();
    void kill(int signal);

private:
    explicit Child(pid_t pid) : pid_(pid) {}
    pid_t pid_ = -1;
};

struct Output {
    std::string text;
    std::string end; ///< how it ended when not well: "crashed (Segmentation fault)", "did not answer within 60 s"
};
Result<Output> run(std::vector<std::string> command, std::chrono::seconds deadline);

/// The first of these that exists and may be executed; empty if none.
std::string find_program(const std::vector<std::string>& candidates);
/// The folder of the running program.
std::string own_folder();

/// A broker of doctor's own, on a socket in a temporary folder.
class PrivateBroker {
public:
    static Result<PrivateBroker> start(const std::string& binary);
    PrivateBroker(PrivateBroker&&) noexcept = default;
    ~PrivateBroker();
    std::string socket() const { return folder_ + "/0"; }

private:
    PrivateBroker(std::string folder, Child child) : folder_(std::move(folder)), child_(std::move(child)) {}
    std::string folder_;
    Child child_;
};

} // namespace dmb::doctor
