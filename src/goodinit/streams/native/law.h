// The normal law's numbers: LOG2 and QUANTILE of spec.py, in hexadecimal.
#pragma once

namespace {

constexpr int LOG2_TERMS = 6, QUANTILE_TERMS = 16;
constexpr float LOG2[LOG2_TERMS] = {
    -0x1.a4ecb6p-6f, 0x1.19c0dcp-2f, -0x1.4455p+0f,
    0x1.a4ad38p+1f, -0x1.55e34ap+2f, 0x1.873aep+2f,
};
constexpr float QUANTILE[QUANTILE_TERMS] = {
    0x1.744bcep-63f, 0x1.76b0dep-57f, 0x1.93506p-53f, -0x1.2669b2p-49f,
    -0x1.cb597p-44f, -0x1.0b5576p-40f, 0x1.caac52p-38f, 0x1.f44c6ep-33f,
    0x1.9beb4p-29f, 0x1.12b5eep-25f, 0x1.a5eb96p-23f, -0x1.4b3dbp-19f,
    -0x1.fbe656p-14f, -0x1.d9a8c2p-9f, -0x1.69499ap-3f, 0x1.d68fdp+1f,
};

} // namespace
