/*
 * wdm.h - the Windows driver model's header: the base types and, by component, everything a WDM driver may
 * call.
 *
 * One header per component under wdm/, each owned by its layer; each declaration there carries its contract
 * (what it does, IRQL, every failure, the Microsoft page). ntddk.h and ntifs.h include this one, as in the
 * WDK. SPDX-License-Identifier: MIT
 */
#ifndef _WDMDDK_
#define _WDMDDK_
#define _NTDDK_DRIVER_ 1

#ifndef NTDDI_WIN10
#define NTDDI_WIN2K      0x05000000
#define NTDDI_WINXP      0x05010000
#define NTDDI_WS03       0x05020000
#define NTDDI_VISTA      0x06000000
#define NTDDI_LONGHORN   NTDDI_VISTA
#define NTDDI_WIN7       0x06010000
#define NTDDI_WIN8       0x06020000
#define NTDDI_WINBLUE    0x06030000
#define NTDDI_WIN10      0x0A000000
#define NTDDI_WIN10_TH2  0x0A000001
#define NTDDI_WIN10_RS1  0x0A000002
#define NTDDI_WIN10_RS2  0x0A000003
#define NTDDI_WIN10_RS3  0x0A000004
#define NTDDI_WIN10_RS4  0x0A000005
#define NTDDI_WIN10_RS5  0x0A000006
#define NTDDI_WIN10_19H1 0x0A000007
#define NTDDI_WIN10_VB   0x0A000008
#define NTDDI_WIN10_FE   0x0A00000A
#define NTDDI_WIN10_CO   0x0A00000B
#define NTDDI_WIN10_NI   0x0A00000C
#endif
#define _WIN32_WINNT_WIN7  0x0601
#define _WIN32_WINNT_WIN8  0x0602
#define _WIN32_WINNT_WIN10 0x0A00
#ifndef NTDDI_VERSION
#define NTDDI_VERSION NTDDI_WIN10_VB
#endif
#ifndef _WIN32_WINNT
#define _WIN32_WINNT _WIN32_WINNT_WIN10
#endif
#ifndef WINVER
#define WINVER _WIN32_WINNT
#endif

/* What seh.h says about temporaries and the values of locals; the rest of it is at the end. */
#if defined(__GNUC__) && !defined(__clang__) && !defined(NTMM_BUILD)
#pragma GCC optimize("no-ira-share-spill-slots", "stack-reuse=none")
#endif

#include "wdm/sal.h"
#include "ntdef.h"
#include "ntstatus.h"
#include "bugcodes.h"
#include "wdm/msvc.h"
#include "wdm/intrin.h"
#include "wdm/rtl.h"
#include "wdm/ke.h"
#include "wdm/seh.h"
#include "wdm/ex.h"
#include "wdm/sync.h"
#include "wdm/zone.h"
#include "wdm/mm.h"
#include "wdm/ob.h"
#include "wdm/ps.h"
#include "wdm/io.h"
#include "wdm/zw.h"
#include "wdm/vm.h"
#include "wdm/section.h"
#include "wdm/heap.h"
#include "wdm/dma.h"
#if !defined(__cplusplus) || defined(NTMM_SAL1)
#include "wdm/sal1.h"
#endif

/* Our own inline routines above are `static inline`. A driver may write `static FORCEINLINE`, as Microsoft's
 * compiler allows, so for it the word does not carry `static`. */
#ifndef NTMM_BUILD
#undef FORCEINLINE
#undef CFORCEINLINE
#define FORCEINLINE  __forceinline
#define CFORCEINLINE __forceinline
#endif

/* What seh.h says about the values of locals. */
#if !defined(NTMM_BUILD) && !defined(NTMM_SEH_VOLATILE) && defined(__OPTIMIZE__)
#if defined(__clang__)
#pragma clang optimize off
#elif !defined(__EXCEPTIONS)
#pragma GCC optimize("O0")
#endif
#endif

#endif
