// SPDX-License-Identifier: MIT
// A job tries blitters, then readers, then writers, one after the other, and remembers the first of each that
// did it. A helper that crashed or hung over it is not among those tried again, because the route is kept with
// the copy. Descriptors are duplicated: either image may be gone before the last answer.
#include "daemon/core/serving/copying.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <utility>

namespace dmb {

struct Copying::Job {
    ImageDesc source, destination;
    ImageFds from, to;
    std::vector<Helper*> blitters, readers, writers; ///< to be tried, the next one last
    CopyRoute route;
    Pixels pixels;
    Done done;
    Error last;
};

namespace {

using Borrowed = BoundedVector<int, 2 * max_planes>;

Result<ImageFds> duplicate(const ImageFds& fds)
{
    ImageFds out;
    for (const UniqueFd& fd : fds) {
        out.push_back(UniqueFd::adopt(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3)));
        if (!out[out.size() - 1]) return fail_errno(Errc::out_of_memory, "duplicating a descriptor", errno);
    }
    return out;
}

void borrow(Borrowed& out, const ImageFds& fds)
{
    for (const UniqueFd& fd : fds) out.push_back(fd.get());
}

Helper* take_next(std::vector<Helper*>& helpers)
{
    Helper* next = helpers.back();
    helpers.pop_back();
    return next;
}

bool cpu_can_map(const ImageDesc& desc)
{
    const bool rows = desc.modifier == modifier_linear;
    return desc.kind == MemoryKind::memfd || (desc.kind == MemoryKind::dma_buf && rows);
}

void add(std::vector<Helper*>& helpers, Helper* helper)
{
    if (helper && std::ranges::find(helpers, helper) == helpers.end()) helpers.push_back(helper);
}

} // namespace

/// Best first: its own driver, the CPU where rows are rows, then any driver that might import it.
std::vector<Helper*> Copying::drivers_for(const CopyEnd& end) const
{
    std::vector<Helper*> out;
    add(out, end.driver);
    if (cpu_can_map(*end.desc)) add(out, system_);
    if (end.desc->kind != MemoryKind::opaque)
        for (Allocator* allocator : allocators_)
            if (!allocator->starting()) add(out, allocator->helper());
    return out;
}

void Copying::run(const CopyEnd& from, const CopyEnd& to, const CopyRoute& known, Instant now, Done done)
{
    auto job = std::make_unique<Job>();
    job->source = *from.desc;
    job->destination = *to.desc;
    Result<ImageFds> source = duplicate(*from.fds), destination = duplicate(*to.fds);
    if (!source || !destination) return done(std::unexpected((source ? destination : source).error()), now);
    job->from = std::move(*source);
    job->to = std::move(*destination);
    job->done = std::move(done);
    if (known.reader) {
        job->readers = {known.reader};
        job->writers = {known.writer};
        return blit(std::move(job), now);
    }
    add(job->blitters, known.blitter ? known.blitter : from.driver);
    if (!known.blitter) add(job->blitters, to.driver);
    job->readers = drivers_for(from);
    job->writers = drivers_for(to);
    for (auto* list : {&job->blitters, &job->readers, &job->writers}) std::ranges::reverse(*list);
    blit(std::move(job), now);
}

void Copying::blit(JobPointer job, Instant now)
{
    if (job->blitters.empty()) return read(std::move(job), now);
    Helper* helper = take_next(job->blitters);
    Borrowed fds;
    borrow(fds, job->from);
    borrow(fds, job->to);
    const ImageDesc source = job->source, destination = job->destination;
    helper->blit(source, destination, {fds.data(), fds.size()}, now,
                 [this, helper, job = std::move(job)](Result<std::uint64_t> cost, Instant at) mutable {
                     if (cost) return job->done(Copied{{.blitter = helper}, *cost}, at);
                     job->last = cost.error();
                     blit(std::move(job), at);
                 });
}

void Copying::read(JobPointer job, Instant now)
{
    if (job->readers.empty())
        return job->done(fail(Errc::backend_failed, "nobody here can read the image: {}", job->last.reason.view()), now);
    Helper* helper = take_next(job->readers);
    Borrowed fds;
    borrow(fds, job->from);
    const ImageDesc desc = job->source;
    helper->read(desc, {fds.data(), fds.size()}, now,
                 [this, helper, job = std::move(job)](Result<Pixels> got, Instant at) mutable {
                     if (!got) {
                         job->last = got.error();
                         return read(std::move(job), at);
                     }
                     job->route.reader = helper;
                     job->pixels = std::move(*got);
                     write(std::move(job), at);
                 });
}

void Copying::write(JobPointer job, Instant now)
{
    if (job->writers.empty())
        return job->done(fail(Errc::backend_failed, "nobody here can write the copy: {}", job->last.reason.view()), now);
    Helper* helper = take_next(job->writers);
    Borrowed fds;
    borrow(fds, job->to);
    fds.push_back(job->pixels.memory.get());
    const ImageDesc desc = job->destination;
    helper->write(desc, {fds.data(), fds.size()}, now,
                  [this, helper, job = std::move(job)](Result<std::uint64_t> cost, Instant at) mutable {
                      if (!cost) {
                          job->last = cost.error();
                          return write(std::move(job), at);
                      }
                      job->route.writer = helper;
                      job->done(Copied{job->route, job->pixels.cost_ns + *cost}, at);
                  });
}

} // namespace dmb
