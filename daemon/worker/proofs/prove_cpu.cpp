// SPDX-License-Identifier: MIT
// The prover of Api::cpu: mmap through libdmabroker's mapping, as applications do. It looks for the plain pattern; for
// a usage that writes it writes the inverse and reads that back through a mapping of its own. It keeps nothing between
// trials.
#include "daemon/worker/proofs/cpu_pixels.hpp"
#include "daemon/worker/proofs/prover.hpp"

namespace dmb::worker {
namespace {

class CpuProver : public ApiProver {
public:
    Proven prove(const Device&, Usage usage, const dmabroker::Image& image) override
    {
        const Proven seen = look(image, ProofPattern::plain);
        if (seen.result != ProofResult::works || !usage.has(UsageFlag::cpu_write)) return seen;
        const FormatInfo& format = *find_format({image.info().format});
        const Extent size{image.info().width, image.info().height};
        const std::vector<std::byte> inverse = proof_contents(format, size, ProofPattern::inverse);
        if (auto written = write_by_cpu(image, inverse); !written) return refused(written.error());
        return look(image, ProofPattern::inverse);
    }

private:
    static Proven look(const dmabroker::Image& image, ProofPattern pattern)
    {
        const FormatInfo& format = *find_format({image.info().format});
        const Extent size{image.info().width, image.info().height};
        std::vector<std::byte> seen(packed_bytes(format, size));
        if (auto read = read_by_cpu(image, seen); !read) return refused(read.error());
        return judged("the CPU", wrong_packed(format, size, seen, pattern));
    }
};

} // namespace

std::unique_ptr<ApiProver> make_cpu_prover() { return std::make_unique<CpuProver>(); }

} // namespace dmb::worker
