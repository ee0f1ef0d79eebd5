/* What a profiler loads into a program with NVTX: it prints the names of ranges as they begin. */
#include <nvtx3/nvToolsExt.h>
#include <stdio.h>

static int depth;

static int NVTX_API begin_range(const char* name) {
    fprintf(stderr, "range %s\n", name);
    return depth++;
}

static int NVTX_API end_range(void) { return --depth; }

__attribute__((visibility("default"))) int NVTX_API
InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table) {
    const NvtxExportTableCallbacks* callbacks = get_table(NVTX_ETID_CALLBACKS);
    NvtxFunctionTable functions;
    unsigned int size = 0;
    if (!callbacks || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &functions, &size) ||
        size <= NVTX_CBID_CORE_RangePop)
        return 0;
    *functions[NVTX_CBID_CORE_RangePushA] = (NvtxFunctionPointer)begin_range;
    *functions[NVTX_CBID_CORE_RangePop] = (NvtxFunctionPointer)end_range;
    return 1;
}
