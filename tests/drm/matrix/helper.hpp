// SPDX-License-Identifier: MIT
// A child process that answers questions: this same program in another role. Where a driver crashes or
// hangs, the answer says so and the next question goes to a fresh child.
#pragma once
#include "proto/base/unique_fd.hpp"

#include <string>
#include <sys/types.h>
#include <vector>

namespace dmb::matrix {

using Words = std::vector<std::string>;
std::string join(const Words&); ///< separated by tabs, which no word has
Words split(const std::string&);

class Helper {
public:
    /// `arguments` select the role; `seconds` limit each answer.
    Helper(Words arguments, int seconds) : arguments_(std::move(arguments)), seconds_(seconds) {}
    Helper(Helper&&) = default;
    Helper& operator=(Helper&&) = delete;
    ~Helper() { stop(); }

    /// The answer's words, at least two of them: "pass", "refused" or "failed", and a text.
    Words ask(const Words& question);
    /// Counts the children used so far: another number means that what the child held is gone.
    int generation() const { return generation_; }

private:
    void start();
    void stop();
    Words died();

    Words arguments_;
    int seconds_;
    int generation_ = 0;
    pid_t pid_ = -1;
    UniqueFd socket_;
};

/// The child's side: answers on descriptor 3 until the parent is gone.
template <class Answer> void serve(Answer answer);

bool receive(int socket, std::string& text, int seconds); ///< false: closed, or nothing came in time
bool send(int socket, const std::string& text);
inline constexpr int helper_socket = 3;

} // namespace dmb::matrix

template <class Answer> void dmb::matrix::serve(Answer answer)
{
    std::string question;
    while (receive(helper_socket, question, -1))
        if (!send(helper_socket, join(answer(split(question))))) return;
}
