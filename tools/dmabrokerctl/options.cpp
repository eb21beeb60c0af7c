// SPDX-License-Identifier: MIT
// CLI11 lives here and nowhere else. Words are checked while parsing, so that a misspelt one is a usage
// error before anything is asked of a broker; whether a size, format or modifier can be served is the
// broker's to say.
#include "tools/dmabrokerctl/options.hpp"

#include "proto/image/image_desc.hpp"
#include "tools/dmabrokerctl/colour.hpp"

#include <charconv>
#include <CLI/CLI.hpp>
#include <cmath>
#include <fmt/core.h>
#include <iostream>

namespace dmb::ctl {
namespace {

/// Adds an option whose text goes through `read`, which returns false for what it does not know.
template <class Read>
CLI::Option* add_word(CLI::App& app, const std::string& name, const std::string& form, const std::string& help, Read read)
{
    return app
        .add_option_function<std::string>(
            name,
            [=](const std::string& text) {
                if (!read(text)) throw CLI::ValidationError(name, fmt::format("\"{}\" is not {}", text, form));
            },
            help)
        ->type_name(form);
}

/// A token may come from standard input: others can read a command line.
void or_from_input(CLI::Option* option)
{
    option->required()->transform(CLI::Validator(
        [](std::string& word) {
            return word != "-" || std::getline(std::cin, word) ? std::string() : "standard input is empty";
        },
        ""));
}

template <class T> bool set(std::optional<T> value, auto& target)
{
    if (value) target = *value;
    return value.has_value();
}

std::optional<Extent> parse_size(std::string_view text)
{
    Extent size;
    const char* end = text.data() + text.size();
    const auto width = std::from_chars(text.data(), end, size.width);
    if (width.ec != std::errc{} || width.ptr == end || (*width.ptr != 'x' && *width.ptr != 'X')) return std::nullopt;
    const auto height = std::from_chars(width.ptr + 1, end, size.height);
    if (height.ec != std::errc{} || height.ptr != end) return std::nullopt;
    return size;
}

/// Seconds, or "forever". Zero is refused: the image would be gone before its token is printed.
std::optional<std::uint64_t> parse_lease(std::string_view text)
{
    if (text == "forever") return DMABROKER_FOREVER;
    double seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    if (!std::isfinite(seconds) || seconds < 1e-3 || seconds > 1e9) return std::nullopt;
    return static_cast<std::uint64_t>(seconds * 1e9);
}

bool add_backends(std::string_view text, BackendSet& set)
{
    for (;;) {
        const std::size_t comma = text.find(',');
        const auto backend = parse_backend(text.substr(0, comma));
        if (!backend) return false;
        set.add(*backend);
        if (comma == std::string_view::npos) return true;
        text.remove_prefix(comma + 1);
    }
}

ParticipantOption parse_participant(const std::string& word)
{
    const std::size_t first = word.find(':'), second = word.find(':', first + 1);
    ParticipantOption out{.file = word.substr(0, first), .usage = {}};
    const std::string usage = first == std::string::npos ? "" : word.substr(first + 1, second - first - 1);
    const bool good = first != std::string::npos && set(parse_usage(usage), out.usage) && !out.usage.empty();
    if (!good ||
        (second != std::string::npos && first != second && !set(parse_rung(word.substr(second + 1)), out.minimum_rung)))
        throw CLI::ValidationError("--participant", "\"" + word + "\" is not FILE:USAGE or FILE:USAGE:RUNG");
    return out;
}

template <class E>
void add_code_point(CLI::App& app, const char* name, const std::string& words, const char* help, std::uint16_t& to)
{
    add_word(app, name, words + " or its number in H.273", help, [&to](const std::string& text) {
        const auto code = parse_code_point<E>(text);
        if (code) to = to_c(*code);
        return code.has_value();
    });
}

void add_colour(CLI::App& app, dmabroker_colour& c)
{
    add_code_point<Primaries>(app, "--primaries", "one of bt709, bt2020, display_p3, ...", "what red, green and blue are",
                              c.primaries);
    add_code_point<Transfer>(app, "--transfer", "one of srgb, bt709, linear, pq, hlg, ...", "how numbers become light",
                             c.transfer);
    add_code_point<MatrixCoefficients>(app, "--matrix", "one of bt709, smpte170m, bt2020_ncl, ...", "how YUV becomes RGB",
                                       c.matrix);
    add_code_point<ColourRange>(app, "--range", "full, limited", "of YUV; RGB is full", c.range);
    add_code_point<ChromaSiting>(app, "--siting", "left, centre, top_left, top, bottom_left, bottom",
                                 "where chroma samples lie", c.siting);
    add_code_point<AlphaMode>(app, "--alpha", "straight, premultiplied", "whether colours are multiplied by alpha", c.alpha);
    add_word(app, "--mastering", "G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)", "the display it was graded on, as encoders take it",
             [&c](const std::string& text) { return set(parse_mastering(text), c.mastering); });
    add_word(app, "--content-light", "MAXCLL,MAXFALL", "brightest pixel and brightest average of a frame, cd/m2",
             [&c](const std::string& text) { return set(parse_content_light(text), c.light); });
}

void add_placement(CLI::App& app, Placement& p)
{
    add_colour(app, p.colour);
    app.add_option("--label", p.label, "shown by list, at most 64 bytes")->type_name("TEXT");
    app.add_option("--device", p.device, "node, name or UUID of the device it must come from")->type_name("DEVICE");
    app.add_flag("--one-shot", p.one_shot, "the token opens the image once");
    add_word(app, "--backend", "one or more of memfd,udmabuf,dma_heap,gbm,vulkan,vulkan_opaque", "who may allocate it",
             [&p](const std::string& text) { return add_backends(text, p.backends); });
    add_word(app, "--usage", "one or more of cpu_read,cpu_write,sample,render,storage,scanout,encode", "what it is for",
             [&p](const std::string& text) { return set(parse_usage(text), p.usage); });
    add_word(app, "--rights", "one or more of read,write,manage", "rights of the printed token",
             [&p](const std::string& text) { return set(parse_rights(text), p.rights) && !p.rights->empty(); });
    add_word(app, "--lease", "SECONDS|forever", "how long the image stays without a holder (default: 600)",
             [&p](const std::string& text) { return set(parse_lease(text), p.lease_ns); });
}

/// Owns what the callbacks write to; it must outlive the parsing only.
struct Parser {
    CLI::App app{"Shows and handles the images of a dmabroker.", "dmabrokerctl"};
    Global global;
    AllocOptions alloc;
    PutOptions put;
    GetOptions get;
    Named named;
    Subjects subject;
    ProofsOptions proofs;
    std::function<Result<>(const Global&)> command;

    Parser();
    template <class Options>
    CLI::App& add(const char* name, const char* help, Result<> (*run)(const Global&, const Options&), Options& options);
    void add(const char* name, const char* help, Result<> (*run)(const Global&));
    void add_picture_or_buffer(CLI::App&);
    void add_alloc();
    void add_put();
    void add_named();
};

template <class Options>
CLI::App& Parser::add(const char* name, const char* help, Result<> (*run)(const Global&, const Options&), Options& options)
{
    CLI::App& sub = *app.add_subcommand(name, help);
    sub.callback([this, run, &options] { command = [run, copy = options](const Global& g) { return run(g, copy); }; });
    return sub;
}

void Parser::add(const char* name, const char* help, Result<> (*run)(const Global&))
{
    app.add_subcommand(name, help)->callback([this, run] { command = run; });
}

void Parser::add_picture_or_buffer(CLI::App& sub)
{
    CLI::App& what = *sub.add_option_group("A buffer, or a picture's size and format")->require_option(1, 2);
    CLI::Option* buffer = what.add_option_function<std::uint32_t>(
        "--buffer",
        [this](std::uint32_t bytes) {
            alloc.size = {bytes, 1};
            alloc.format = buffer_format;
        },
        "such as 4096 or 64kb");
    buffer->type_name("BYTES")
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{UINT32_MAX}));
    CLI::Option* size =
        add_word(what, "--size", "WxH", "pixels", [this](const std::string& t) { return set(parse_size(t), alloc.size); });
    CLI::Option* format = add_word(what, "--format", "FOURCC", "such as XR24, NV12",
                                   [this](const std::string& t) { return set(parse_fourcc(t), alloc.format); });
    buffer->excludes(size)->excludes(format);
    size->needs(format);
    format->needs(size);
}

void Parser::add_alloc()
{
    CLI::App& sub = add("alloc", "allocate an image or a buffer; the last word printed is its token", ctl::alloc, alloc);
    add_picture_or_buffer(sub);
    sub.add_option_function<std::vector<std::string>>(
           "--modifier",
           [this](const std::vector<std::string>& words) {
               for (const std::string& word : words) {
                   const auto modifier = parse_modifier(word);
                   if (!modifier) throw CLI::ValidationError("--modifier", "\"" + word + "\" is not LINEAR, INVALID or 0x...");
                   alloc.modifiers.push_back(modifier->value);
               }
           },
           "an acceptable modifier, best first; may be given again")
        ->type_name("MODIFIER")
        ->allow_extra_args(false);
    add_word(sub, "--alternative", "FOURCC", "another acceptable format, best first; may be given again",
             [this](const std::string& t) {
                 const auto format = parse_fourcc(t);
                 if (format) alloc.alternatives.push_back(format->value);
                 return format.has_value();
             })
        ->allow_extra_args(false);
    add_word(sub, "--min-rung", "tiled, linear, system_dma_buf, blit or copy", "refuse instead of sharing worse than that",
             [this](const std::string& t) { return set(parse_rung(t), alloc.minimum_rung); });
    sub.add_option_function<std::vector<std::string>>(
           "--participant",
           [this](const std::vector<std::string>& words) {
               for (const std::string& word : words) alloc.participants.push_back(parse_participant(word));
           },
           "who else will use it: a recorded capability table, its usage, and its minimum rung; may be given again")
        ->type_name("FILE:USAGE[:RUNG]")
        ->allow_extra_args(false);
    add_placement(sub, alloc.placement);
}

void Parser::add_put()
{
    CLI::App& sub =
        add("put", "make an image of a PNG file, or a buffer of any file; the last word printed is its token", ctl::put, put);
    sub.add_option("FILE", put.file, "PNG file, or with --bytes any file; - is standard input")->required();
    CLI::Option* format = add_word(sub, "--format", "FOURCC", "default: AB24, for 16-bit files AB48",
                                   [this](const std::string& t) { return set(parse_fourcc(t), put.format); });
    sub.add_flag("--bytes", put.bytes, "make a buffer of the file's bytes as they are")->excludes(format);
    add_placement(sub, put.placement);
}

void Parser::add_named()
{
    constexpr const char* help = "ID or TOKEN; - is standard input";
    or_from_input(add("show", "show everything about one image", ctl::show, named).add_option("NAME", named.name, help));
    or_from_input(add("revoke", "end an image's tokens and lease, or one token", ctl::revoke, named)
                      .add_option("NAME", named.name, help));
}

Parser::Parser()
{
    app.add_option("--socket", global.socket, "the broker's socket (default: $DMABROKER_REMOTE or the usual places)")
        ->type_name("PATH");
    app.add_flag("--json", global.json, "print JSON");
    app.set_version_flag("--version", "dmabrokerctl " DMB_VERSION);
    app.require_subcommand(1);
    app.fallthrough();
    app.failure_message(CLI::FailureMessage::simple);
    add("devices", "list the devices that images can come from", ctl::devices);
    add("formats", "list formats and modifiers that were tried and work", ctl::formats);
    add_alloc();
    add_put();
    CLI::App& sub = add("get", "write an image as a PNG file, a buffer as its bytes", ctl::get, get);
    or_from_input(sub.add_option("TOKEN", get.token, "token of the image; - is standard input"));
    sub.add_option("FILE", get.file, "file to write; - is standard output")->required();
    add("list", "list images and who holds them", ctl::list);
    add_named();
    add("why", "say why an image is what it is, or why there is none", ctl::why, subject)
        .add_option("SUBJECT", subject.name, "number of an image, or request:NUMBER; default: the last decision");
    CLI::App& tried = add("proofs", "list what was tried: who can really import whose images", ctl::proofs, proofs);
    tried.add_flag("--clear", proofs.clear, "forget it all");
    tried.add_flag("--warm", proofs.warm, "try what the devices here could share with the programs connected now");
    add("doctor", "try what works on this machine, and say how to mend what does not", ctl::doctor);
    app.footer("Exit status: 0 success, 1 failure, 2 wrong usage, 3 no broker, 4 not found, 5 denied.");
}

} // namespace

std::variant<Invocation, int> parse(int argc, char** argv)
{
    Parser parser;
    try {
        parser.app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return parser.app.exit(e) == 0 ? exit_success : exit_usage;
    }
    return Invocation{parser.global, parser.command};
}

} // namespace dmb::ctl
