#include "json.h"

#include <cstdlib>
#include <stdexcept>

namespace {

constexpr int kDeepest = 16;

class Parser {
public:
    explicit Parser(const std::string& text) : text_(text) {}

    Json parse() {
        const Json value = read_value(0);
        skip_spaces();
        if (at_ != text_.size()) fail("the end");
        return value;
    }

private:
    [[noreturn]] void fail(const std::string& wanted) const {
        throw std::runtime_error("expected " + wanted + " at character " + std::to_string(at_));
    }

    void skip_spaces() {
        while (at_ < text_.size() && std::string(" \t\r\n").find(text_[at_]) != std::string::npos)
            ++at_;
    }

    bool take(char wanted) {
        skip_spaces();
        if (at_ >= text_.size() || text_[at_] != wanted) return false;
        ++at_;
        return true;
    }

    void need(char wanted) {
        if (!take(wanted)) fail(std::string("`") + wanted + "`");
    }

    std::string read_string() {
        need('"');
        const size_t end = text_.find('"', at_);
        if (end == std::string::npos) fail("a closing quote");
        const std::string string = text_.substr(at_, end - at_);
        /* Names of filters have no escapes, and nothing else is looked at. */
        if (string.find('\\') != std::string::npos) fail("a string without escapes");
        at_ = end + 1;
        return string;
    }

    Json read_value(int depth) {
        if (depth > kDeepest) fail("less nesting");
        Json value;
        if (take('{')) {
            if (take('}')) return value;
            do {
                std::string name = read_string();
                for (const auto& entry : value.entries)
                    if (entry.first == name) fail("each key once, not `" + name + "` again,");
                need(':');
                value.entries.emplace_back(std::move(name), read_value(depth + 1));
            } while (take(','));
            need('}');
        } else if (take('[')) {
            value.kind = Json::Kind::array;
            if (take(']')) return value;
            do value.entries.emplace_back("", read_value(depth + 1));
            while (take(','));
            need(']');
        } else if (at_ < text_.size() && text_[at_] == '"') {
            value.kind = Json::Kind::string;
            value.string = read_string();
        } else {
            value.kind = Json::Kind::number;
            value.number = read_number();
        }
        return value;
    }

    double read_number() {
        const size_t end = text_.find_first_not_of("+-.0123456789eE", at_);
        const std::string digits = text_.substr(at_, end == std::string::npos ? end : end - at_);
        char* stop = nullptr;
        const double number = std::strtod(digits.c_str(), &stop);
        if (digits.empty() || *stop) fail("an object, array, string or number");
        at_ += digits.size();
        return number;
    }

    const std::string& text_;
    size_t at_ = 0;
};

}  // namespace

const Json* Json::find(const std::string& name, Kind wanted) const {
    for (const auto& entry : entries)
        if (entry.first == name && entry.second.kind == wanted) return &entry.second;
    return nullptr;
}

Json parse_json(const std::string& text) { return Parser(text).parse(); }
