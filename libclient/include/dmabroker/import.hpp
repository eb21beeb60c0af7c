// SPDX-License-Identifier: MIT
/** @file
 * What the importers' headers share: the owner of what a driver made of an image.
 */
#ifndef DMABROKER_IMPORT_HPP
#define DMABROKER_IMPORT_HPP

#include <dmabroker/dmabroker.hpp>
#include <dmabroker/import.h>

namespace dmabroker::detail {

inline dmabroker_get_proc native_of(dmabroker_get_proc get_proc) { return get_proc; }
template <class Api> auto native_of(const Api& api) { return api.native(); }
inline dmabroker_get_proc handed(dmabroker_get_proc get_proc) { return get_proc; }
template <class Context> const Context* handed(const Context& context) { return &context; }

/** `Made`, with the application's API to release it with. */
template <class Api, class Made, auto import, auto release> class Imported {
public:
    /** `options`: as the C function has them. */
    template <class... Options> Imported(const Image& image, const Api& api, Options... options) : context_(native_of(api))
    {
        made_.struct_size = sizeof made_;
        call(import, image.native(), handed(context_), options..., &made_);
    }
    Imported(Imported&& other) noexcept : context_(other.context_), made_(std::exchange(other.made_, Made{})) {}
    Imported& operator=(Imported&& other) noexcept
    {
        std::swap(context_, other.context_);
        std::swap(made_, other.made_);
        return *this;
    }
    /** What was moved from has no struct_size: nothing is released. */
    ~Imported() { release(handed(context_), &made_); }

    const Made& get() const noexcept { return made_; }
    const Made* operator->() const noexcept { return &made_; }

protected:
    decltype(native_of(std::declval<const Api&>())) context_;
    Made made_{};
};

} // namespace dmabroker::detail

#endif
