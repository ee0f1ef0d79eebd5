/* Streams, events, captures and graphs. */
#include <chrono>

#include "emulator.h"

using emulator::Capture;
using emulator::Operation;
using emulator::require_context;
using emulator::state;

#define HZ_CHECK(call) \
    if (CUresult status_ = (call)) return status_

namespace {

using Lock = std::lock_guard<std::recursive_mutex>;
CUstream_st legacy; /* the default stream */
thread_local Capture* capturing = nullptr;

CUstream resolve(CUstream stream) {
    return !stream || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD ? &legacy
                                                                                   : stream;
}

bool known(CUstream stream) { return stream == &legacy || state().streams.count(stream); }

/* Run a stream's queue up to a position; waits run the other stream first. */
CUresult run_to(CUstream stream, uint64_t position) {
    while (stream->done < position) {
        Operation next = std::move(stream->queue.front());
        stream->queue.pop_front();
        ++stream->done;
        CUresult status = CUDA_SUCCESS;
        if (next.work)
            status = next.work();
        else if (known(next.stream))
            status = run_to(next.stream, next.position);
        if (status) return state().broken = status;
    }
    return CUDA_SUCCESS;
}

void push(CUstream stream, Operation operation) {
    stream->queue.push_back(std::move(operation));
    ++stream->issued;
}

void push_wait(CUstream stream, CUstream other) {
    if (other->done < other->issued) push(stream, {nullptr, other, other->issued});
}

double now_ms() {
    using Clock = std::chrono::steady_clock;
    return std::chrono::duration<double, std::milli>(Clock::now().time_since_epoch()).count();
}

CUresult refuse(Capture* capture) {
    if (capture) capture->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

void end(Capture* capture) {
    for (CUstream stream : capture->streams) stream->capture = nullptr;
    for (CUevent event : state().events)
        if (event->capture == capture) event->capture = nullptr;
    if (capturing == capture) capturing = nullptr;
}

}  // namespace

namespace emulator {

CUresult allocation_allowed() {
    return capturing && capturing->mode != CU_STREAM_CAPTURE_MODE_RELAXED ? refuse(capturing)
                                                                          : CUDA_SUCCESS;
}

CUresult enqueue(CUstream stream, std::function<CUresult()> work) {
    stream = resolve(stream);
    if (!known(stream)) return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture) {
        ++stream->captured;
        stream->capture->graph.operations.push_back({std::move(work)});
        return stream->capture->invalid ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_SUCCESS;
    }
    if (stream == &legacy) {
        for (CUstream other : state().streams)
            if (other->blocking) {
                if (other->capture) {
                    other->capture->invalid = true;
                    return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
                }
                push_wait(stream, other);
            }
    } else if (stream->blocking) {
        push_wait(stream, &legacy);
    }
    push(stream, {std::move(work)});
    return state().eager ? run_to(stream, stream->issued) : CUDA_SUCCESS;
}

CUresult finish(CUstream stream) {
    stream = resolve(stream);
    if (!known(stream)) return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture) return refuse(stream->capture);
    if (stream == &legacy)
        for (CUstream other : state().streams)
            if (other->blocking && !other->capture) HZ_CHECK(run_to(other, other->issued));
    return run_to(stream, stream->issued);
}

CUresult finish_all() {
    Lock lock(state().mutex);
    if (capturing) return refuse(capturing);
    for (CUstream stream : state().streams) HZ_CHECK(run_to(stream, stream->issued));
    return run_to(&legacy, legacy.issued);
}

bool busy() {
    for (CUstream stream : state().streams)
        if (stream->done < stream->issued) return true;
    return legacy.done < legacy.issued;
}

}  // namespace emulator

HZ_EXPORT CUresult cuStreamCreate(CUstream* stream, unsigned flags) {
    HZ_CHECK(require_context());
    Lock lock(state().mutex);
    *stream = new CUstream_st;
    (*stream)->blocking = !(flags & CU_STREAM_NON_BLOCKING);
    state().streams.insert(*stream);
    ++state().counts.streams;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuStreamCreateWithPriority(CUstream* stream, unsigned flags, int) {
    return cuStreamCreate(stream, flags);
}

HZ_EXPORT CUresult cuStreamDestroy_v2(CUstream stream) {
    Lock lock(state().mutex);
    if (!state().streams.count(stream)) return CUDA_ERROR_INVALID_HANDLE;
    HZ_CHECK(run_to(stream, stream->issued));
    state().streams.erase(stream); /* the object stays, so that a stale handle is recognised */
    --state().counts.streams;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuStreamSynchronize(CUstream stream) {
    HZ_CHECK(require_context());
    Lock lock(state().mutex);
    return emulator::finish(stream);
}

HZ_EXPORT CUresult cuStreamQuery(CUstream stream) {
    HZ_CHECK(require_context());
    Lock lock(state().mutex);
    stream = resolve(stream);
    if (!known(stream)) return CUDA_ERROR_INVALID_HANDLE;
    return stream->done < stream->issued ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuEventCreate(CUevent* event, unsigned flags) {
    HZ_CHECK(require_context());
    Lock lock(state().mutex);
    *event = new CUevent_st;
    (*event)->timed = !(flags & CU_EVENT_DISABLE_TIMING);
    state().events.insert(*event);
    ++state().counts.events;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuEventDestroy_v2(CUevent event) {
    Lock lock(state().mutex);
    if (!state().events.erase(event)) return CUDA_ERROR_INVALID_HANDLE;
    --state().counts.events;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuEventRecord(CUevent event, CUstream stream) {
    HZ_CHECK(require_context());
    Lock lock(state().mutex);
    stream = resolve(stream);
    if (!state().events.count(event) || !known(stream)) return CUDA_ERROR_INVALID_HANDLE;
    event->recorded = true;
    event->stream = stream;
    event->capture = stream->capture;
    if (stream->capture) {
        event->position = stream->captured;
        return CUDA_SUCCESS;
    }
    HZ_CHECK(emulator::enqueue(stream, [event] {
        if (state().events.count(event)) event->time_ms = now_ms();
        return CUDA_SUCCESS;
    }));
    event->position = stream->issued;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
    HZ_CHECK(require_context());
    Lock lock(state().mutex);
    stream = resolve(stream);
    if (!state().events.count(event) || !known(stream)) return CUDA_ERROR_INVALID_HANDLE;
    if (!event->recorded) return CUDA_SUCCESS;
    if (event->capture) {
        if (!stream->capture) { /* the waiting stream joins the capture */
            stream->capture = event->capture;
            stream->captured = stream->joined = 0;
            event->capture->streams.insert(stream);
        }
        event->stream->joined = event->position;
        return CUDA_SUCCESS;
    }
    if (stream->capture) {
        stream->capture->invalid = true;
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    push(stream, {nullptr, event->stream, event->position});
    return state().eager ? run_to(stream, stream->issued) : CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuEventSynchronize(CUevent event) {
    Lock lock(state().mutex);
    if (!state().events.count(event)) return CUDA_ERROR_INVALID_HANDLE;
    if (event->capture) return refuse(event->capture);
    return event->recorded && known(event->stream) ? run_to(event->stream, event->position)
                                                   : state().broken;
}

HZ_EXPORT CUresult cuEventQuery(CUevent event) {
    Lock lock(state().mutex);
    if (!state().events.count(event)) return CUDA_ERROR_INVALID_HANDLE;
    const bool pending =
        event->recorded && known(event->stream) && event->stream->done < event->position;
    return pending ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuEventElapsedTime_v2(float* ms, CUevent start, CUevent end) {
    Lock lock(state().mutex);
    if (cuEventQuery(start) || cuEventQuery(end)) return CUDA_ERROR_NOT_READY;
    *ms = static_cast<float>(end->time_ms - start->time_ms);
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
    HZ_CHECK(require_context());
    Lock lock(state().mutex);
    if (!state().streams.count(stream)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
    auto* capture = new Capture;
    capture->origin = stream;
    capture->streams.insert(stream);
    capture->mode = mode;
    capture->thread = std::this_thread::get_id();
    stream->capture = capturing = capture;
    stream->captured = stream->joined = 0;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus* status) {
    Lock lock(state().mutex);
    stream = resolve(stream);
    *status = !stream->capture           ? CU_STREAM_CAPTURE_STATUS_NONE
              : stream->capture->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                         : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuStreamEndCapture(CUstream stream, CUgraph* graph) {
    HZ_CHECK(require_context());
    Lock lock(state().mutex);
    *graph = nullptr;
    Capture* capture = stream->capture;
    if (!capture || capture->origin != stream) return CUDA_ERROR_ILLEGAL_STATE;
    if (capture->thread != std::this_thread::get_id())
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    bool unjoined = false;
    for (CUstream other : capture->streams)
        unjoined = unjoined || (other != stream && other->joined < other->captured);
    end(capture);
    if (capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (unjoined) return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    auto* made = new CUgraph_st;
    made->operations = std::move(capture->graph.operations);
    ++state().counts.graphs;
    *graph = made;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuGraphInstantiateWithFlags(CUgraphExec* executable, CUgraph graph,
                                               unsigned long long) {
    Lock lock(state().mutex);
    auto* made = new CUgraphExec_st;
    made->operations = graph->operations;
    ++state().counts.graphs;
    *executable = made;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) {
    HZ_CHECK(require_context());
    Lock lock(state().mutex);
    ++state().counts.graph_launches;
    for (const Operation& operation : executable->operations)
        HZ_CHECK(emulator::enqueue(stream, operation.work));
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuGraphDestroy(CUgraph graph) {
    Lock lock(state().mutex);
    delete graph;
    --state().counts.graphs;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuGraphExecDestroy(CUgraphExec executable) {
    Lock lock(state().mutex);
    delete executable;
    --state().counts.graphs;
    return CUDA_SUCCESS;
}
