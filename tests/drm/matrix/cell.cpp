// SPDX-License-Identifier: MIT
// Exporter writes A, importer must see A; importer writes B, exporter must see B. Where the importer
// cannot write, the exporter must still see A: an import may not disturb the pixels.
#include "tests/drm/matrix/cell.hpp"

namespace dmb::matrix {
namespace {

constexpr const char* first_seed = "1";
constexpr const char* second_seed = "2";

Verdict verdict_of(const Words& answer)
{
    if (answer[0] == "pass") return Verdict::passed;
    return answer[0] == "refused" ? Verdict::refused : Verdict::failed;
}

class Run {
public:
    Run(Helper& exporter, Helper& importer, FourCC format, Extent size)
        : exporter_(exporter),
          importer_(importer),
          shape_{std::to_string(format.value), std::to_string(size.width), std::to_string(size.height)}
    {
        cell.format = format;
        cell.size = size;
    }

    void compare(const std::string& token)
    {
        const Words read = importer_.ask(question("read", {token}, first_seed));
        cell.verdict = verdict_of(read);
        (cell.verdict == Verdict::passed ? cell.remark : cell.reason) = read[1];
        if (cell.verdict != Verdict::passed) return;
        const Words written = importer_.ask(question("write", {}, second_seed));
        if (written[0] == "refused") cell.not_written = written[1];
        if (written[0] == "failed") return fail("writing: " + written[1]);
        const bool wrote = written[0] == "pass";
        const Words seen = exporter_.ask(question("verify", {}, wrote ? second_seed : first_seed));
        if (seen[0] != "pass") fail(wrote ? "what was written did not arrive: " + seen[1] : "reading changed it: " + seen[1]);
    }

    Cell cell;

private:
    Words question(const char* verb, Words more, const char* seed) const
    {
        Words words{verb};
        words.insert(words.end(), more.begin(), more.end());
        words.insert(words.end(), shape_.begin(), shape_.end());
        words.push_back(seed);
        return words;
    }
    void fail(std::string reason)
    {
        cell.verdict = Verdict::failed;
        cell.reason = std::move(reason);
    }

    Helper& exporter_;
    Helper& importer_;
    Words shape_;
};

} // namespace

std::optional<Cell> run_cell(Helper& exporter, Helper& importer, FourCC format, Extent size, std::string& absent)
{
    Run run(exporter, importer, format, size);
    const Words made = exporter.ask(
        {"alloc", std::to_string(format.value), std::to_string(size.width), std::to_string(size.height), first_seed});
    if (made[0] == "none") {
        absent = made[1];
        return std::nullopt;
    }
    if (made[0] == "pass") run.compare(made.at(2));
    else run.cell.reason = "allocating: " + made[1];
    importer.ask({"close"});
    exporter.ask({"close"});
    return run.cell;
}

} // namespace dmb::matrix
