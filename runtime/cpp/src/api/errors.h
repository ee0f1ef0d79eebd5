/* Errors on their way to the C interface: every function of it runs inside `guarded`. */
#pragma once

#include <new>
#include <stdexcept>

#include "harmonizer.h"

namespace hz_api {

/* A call breaks a documented rule; what() is the message for hz_last_error. */
struct Invalid : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

/* This build, machine or driver lacks what was asked for. */
struct Unavailable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/* An engine or predictor is unusable. */
struct BadModel : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/* The GPU's memory, or pinned memory, does not suffice; unlike std::bad_alloc it has a message. */
struct DeviceMemoryFull : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/* Keep a message for hz_last_error on this thread; allocates nothing. */
void remember_error(const char* message) noexcept;

template <typename Body>
int32_t guarded(const Body& body) noexcept {
    try {
        body();
        return HZ_OK;
    } catch (const Invalid& error) {
        remember_error(error.what());
        return HZ_INVALID;
    } catch (const Unavailable& error) {
        remember_error(error.what());
        return HZ_UNAVAILABLE;
    } catch (const BadModel& error) {
        remember_error(error.what());
        return HZ_MODEL;
    } catch (const DeviceMemoryFull& error) {
        remember_error(error.what());
        return HZ_OUT_OF_MEMORY;
    } catch (const std::bad_alloc&) {
        remember_error("the system has not enough free memory for this call.");
        return HZ_OUT_OF_MEMORY;
    } catch (const std::exception& error) {
        remember_error(error.what());
    } catch (...) {
        remember_error("unknown error");
    }
    return HZ_INTERNAL;
}

}  // namespace hz_api
