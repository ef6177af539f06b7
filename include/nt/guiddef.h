/*
 * guiddef.h - DEFINE_GUID: declares a GUID, or (after initguid.h) makes it. SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_GUIDDEF_
#define _NTMM_GUIDDEF_
#include "ntdef.h"
#endif

#ifdef DEFINE_GUID
#undef DEFINE_GUID
#endif
#ifdef INITGUID
#ifdef __cplusplus
#define DEFINE_GUID(Name, l, w1, w2, b1, b2, b3, b4, b5, b6, b7, b8)                                                           \
    extern "C" const GUID __attribute__((weak)) Name = {l, w1, w2, {b1, b2, b3, b4, b5, b6, b7, b8}}
#else
#define DEFINE_GUID(Name, l, w1, w2, b1, b2, b3, b4, b5, b6, b7, b8)                                                           \
    const GUID __attribute__((weak)) Name = {l, w1, w2, {b1, b2, b3, b4, b5, b6, b7, b8}}
#endif
#else
#define DEFINE_GUID(Name, l, w1, w2, b1, b2, b3, b4, b5, b6, b7, b8) EXTERN_C const GUID Name
#endif
