// SPDX-License-Identifier: MIT
// Containers with a fixed limit and inline storage: what comes from a peer is bounded by its type,
// and nothing on the request path allocates.
#pragma once
#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>

namespace dmb {

/// A vector of at most N elements, stored inline. push_back beyond N is a bug of ours (assert).
template <class T, std::size_t N> class BoundedVector {
public:
    using value_type = T;
    static constexpr std::size_t max_size() { return N; }

    BoundedVector() = default;
    BoundedVector(std::initializer_list<T> list)
    {
        for (const T& value : list) push_back(value);
    }

    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    bool full() const { return size_ == N; }
    void clear() { resize(0); }
    /// Grows with default values, shrinks by resetting what is dropped.
    void resize(std::size_t size)
    {
        assert(size <= N);
        for (std::size_t i = size; i < size_; ++i) items_[i] = T{};
        size_ = static_cast<std::uint32_t>(size);
    }
    T& push_back(T value)
    {
        assert(size_ < N);
        return items_[size_++] = std::move(value);
    }

    T& operator[](std::size_t i)
    {
        assert(i < size_);
        return items_[i];
    }
    const T& operator[](std::size_t i) const
    {
        assert(i < size_);
        return items_[i];
    }
    T* data() { return items_.data(); }
    const T* data() const { return items_.data(); }
    T* begin() { return items_.data(); }
    T* end() { return items_.data() + size_; }
    const T* begin() const { return items_.data(); }
    const T* end() const { return items_.data() + size_; }

    friend bool operator==(const BoundedVector& a, const BoundedVector& b)
    {
        return std::equal(a.begin(), a.end(), b.begin(), b.end());
    }

private:
    std::array<T, N> items_{};
    std::uint32_t size_ = 0;
};

/// Length of `text`, which was cut somewhere, without the part of a UTF-8 character at its end.
std::size_t whole_characters(std::string_view text);

/// Text of at most N bytes, stored inline. Longer text is cut behind its last whole character; whoever
/// must refuse instead of cutting compares lengths first.
template <std::size_t N> class BoundedText {
public:
    static constexpr std::size_t max_size() { return N; }

    BoundedText() = default;
    BoundedText(std::string_view text) { assign(text); }
    BoundedText(const char* text) { assign(text); }

    void assign(std::string_view text)
    {
        size_ = static_cast<std::uint16_t>(text.size() <= N ? text.size() : whole_characters(text.substr(0, N)));
        std::copy_n(text.data(), size_, bytes_.data());
    }
    std::string_view view() const { return {bytes_.data(), size_}; }
    operator std::string_view() const { return view(); }
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    char* data() { return bytes_.data(); }
    void set_size(std::size_t size)
    {
        assert(size <= N);
        size_ = static_cast<std::uint16_t>(size);
    }

    friend bool operator==(const BoundedText& a, const BoundedText& b) { return a.view() == b.view(); }

private:
    std::uint16_t size_ = 0;
    std::array<char, N> bytes_; // the first size_ bytes are set
};

/// True for UTF-8 without control characters, direction overrides or line separators: what may
/// reach a log or a terminal as it is. Names and labels of clients must pass it.
bool is_printable(std::string_view text);

} // namespace dmb
