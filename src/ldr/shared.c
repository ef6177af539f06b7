/*
 * shared.c - the page that Windows maps at 0xFFFFF78000000000, KUSER_SHARED_DATA. SPDX-License-Identifier: MIT
 *
 * Drivers read the system time, the tick count and the interrupt time from it through an absolute address, an 8-byte
 * immediate in their code (the headers' KeQuerySystemTime, KeQueryTickCount and the like expand to that). A process
 * cannot have memory there, so the loader rewrites each such immediate to a mirror page of the same layout, read-only
 * to drivers. The page exists while an image uses it, and a 15 ms timer keeps its clocks current meanwhile.
 *
 * The fields filled are those whose offsets Microsoft documents (wdm.h, ntddk.h: KUSER_SHARED_DATA); the rest is zero.
 * KSYSTEM_TIME is read as High1, Low, High2 until both highs agree, so it is written High2, Low, High1.
 *
 * Differences: the tick count advances by what the host's clock says, in units of 15.625 ms; the page at its user
 * address 0x7FFE0000 is not provided.
 */
#include <stdio.h>
#include <string.h>
#include "ldr/ldrp.h"
#include "mm/mm.h"

#define LDRP_SHARED_ADDRESS 0xFFFFF78000000000ull
#define LDRP_TICK_100NS     156250u
#define LDRP_REFRESH_MS     15

typedef struct _LDRP_SYSTEM_TIME {
    volatile ULONG Low;
    volatile LONG High1, High2;
} LDRP_SYSTEM_TIME;

/* The documented part of KUSER_SHARED_DATA. */
typedef struct _LDRP_SHARED_DATA {
    ULONG TickCountLowDeprecated;
    ULONG TickCountMultiplier;      /* 0x004 */
    LDRP_SYSTEM_TIME InterruptTime; /* 0x008 */
    LDRP_SYSTEM_TIME SystemTime;    /* 0x014 */
    LDRP_SYSTEM_TIME TimeZoneBias;  /* 0x020 */
    USHORT ImageNumberLow, ImageNumberHigh;
    WCHAR NtSystemRoot[260]; /* 0x030 */
    ULONG MaxStackTraceDepth, CryptoExponent, TimeZoneId, LargePageMinimum, AitSamplingValue, AppCompatFlag;
    ULONG64 RNGSeedVersion;
    ULONG GlobalValidationRunlevel;
    LONG TimeZoneBiasStamp;
    ULONG NtBuildNumber; /* 0x260 */
    ULONG NtProductType;
    BOOLEAN ProductTypeIsValid, Reserved0;
    USHORT NativeProcessorArchitecture;
    ULONG NtMajorVersion; /* 0x26C */
    ULONG NtMinorVersion;
    BOOLEAN ProcessorFeatures[64]; /* 0x274 */
    UCHAR Reserved1[0x2D4 - 0x2B4];
    BOOLEAN KdDebuggerEnabled; /* 0x2D4 */
    UCHAR Reserved2[0x2E8 - 0x2D5];
    ULONG NumberOfPhysicalPages; /* 0x2E8 */
    UCHAR Reserved3[0x300 - 0x2EC];
    LONGLONG QpcFrequency; /* 0x300 */
    UCHAR Reserved4[0x320 - 0x308];
    LDRP_SYSTEM_TIME TickCount; /* 0x320 */
    UCHAR Reserved5[0x3C0 - 0x32C];
    ULONG ActiveProcessorCount; /* 0x3C0 */
} LDRP_SHARED_DATA;
C_ASSERT(offsetof(LDRP_SHARED_DATA, SystemTime) == 0x14 && offsetof(LDRP_SHARED_DATA, NtSystemRoot) == 0x30);
C_ASSERT(offsetof(LDRP_SHARED_DATA, NtBuildNumber) == 0x260 && offsetof(LDRP_SHARED_DATA, NtMajorVersion) == 0x26C);
C_ASSERT(offsetof(LDRP_SHARED_DATA, ProcessorFeatures) == 0x274 && offsetof(LDRP_SHARED_DATA, TickCount) == 0x320);
C_ASSERT(offsetof(LDRP_SHARED_DATA, ActiveProcessorCount) == 0x3C0);

/* Guarded by the loader's lock, but for *Window, which the timer's DPC writes. */
static struct {
    PUCHAR Mirror;            /* what drivers read */
    LDRP_SHARED_DATA *Window; /* the same frame, writable */
    ULONG Users;
    KTIMER Timer;
    KDPC Dpc;
} LdrpShared;

static VOID LdrpWriteTime(LDRP_SYSTEM_TIME *Time, ULONG64 Value)
{
    __atomic_store_n(&Time->High2, (LONG)(Value >> 32), __ATOMIC_RELEASE);
    __atomic_store_n(&Time->Low, (ULONG)Value, __ATOMIC_RELEASE);
    __atomic_store_n(&Time->High1, (LONG)(Value >> 32), __ATOMIC_RELEASE);
}

static VOID LdrpRefreshShared(KDPC *Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    ULONG64 Interrupt = HalQueryTime() / 100;
    (void)Dpc;
    (void)Context;
    (void)Argument1;
    (void)Argument2;
    LdrpWriteTime(&LdrpShared.Window->InterruptTime, Interrupt);
    LdrpWriteTime(&LdrpShared.Window->SystemTime, HalQuerySystemTime());
    LdrpWriteTime(&LdrpShared.Window->TickCount, Interrupt / LDRP_TICK_100NS);
}

static NTSTATUS LdrpMakeMirror(VOID)
{
    static const WCHAR Root[] = L"C:\\Windows";
    /* PF_COMPARE_EXCHANGE_DOUBLE, PF_MMX, PF_XMMI, PF_RDTSC, PF_PAE, PF_XMMI64, PF_NX, PF_SSE3, PF_COMPARE_EXCHANGE128 */
    static const UCHAR Features[] = {2, 3, 6, 8, 9, 10, 12, 13, 14};
    MM_COUNTERS Counters;
    PHYSICAL_ADDRESS Physical;
    LdrpShared.Mirror = MmAllocatePages(MmRegionDriverImages, 1, MM_PAGES_ZERO, HighPoolPriority);
    if (LdrpShared.Mirror == NULL) {
        return STATUS_NO_MEMORY;
    }
    if (!HalTranslate((ULONG_PTR)LdrpShared.Mirror, &Physical) ||
        !NT_SUCCESS(MmProtectPages(LdrpShared.Mirror, 1, PAGE_READONLY))) {
        MmFreePages(LdrpShared.Mirror, 1);
        LdrpShared.Mirror = NULL;
        return STATUS_NO_MEMORY;
    }
    LDRP_SHARED_DATA *Data = HalWindow((PFN_NUMBER)Physical.QuadPart >> 12);
    LdrpShared.Window = Data;
    MmQueryCounters(&Counters);
    Data->TickCountMultiplier = 0x0FA00000; /* 15.625 ms in 2^-24 ms */
    memcpy(Data->NtSystemRoot, Root, sizeof(Root));
    Data->NtBuildNumber = NtBuildNumber & 0xffff;
    Data->NtProductType = 1;
    Data->ProductTypeIsValid = TRUE;
    Data->NativeProcessorArchitecture = 9; /* AMD64 */
    Data->NtMajorVersion = 10;
    for (ULONG Index = 0; Index < sizeof(Features); Index++) {
        Data->ProcessorFeatures[Features[Index]] = TRUE;
    }
    Data->NumberOfPhysicalPages = (ULONG)Counters.TotalPages;
    Data->QpcFrequency = 10000000;
    Data->ActiveProcessorCount = KiProcessorCount;
    LdrpRefreshShared(NULL, NULL, NULL, NULL);
    KeInitializeTimer(&LdrpShared.Timer);
    KeInitializeDpc(&LdrpShared.Dpc, LdrpRefreshShared, NULL);
    LARGE_INTEGER Due = {.QuadPart = -(LONGLONG)LDRP_REFRESH_MS * 10000};
    KeSetTimerEx(&LdrpShared.Timer, Due, LDRP_REFRESH_MS, &LdrpShared.Dpc);
    return STATUS_SUCCESS;
}

NTSTATUS LdrpRedirectSharedData(LDR_IMAGE *Image, UCHAR *Copy, CHAR *Error, SIZE_T ErrorSize)
{
    static const UCHAR High[4] = {0x80, 0xF7, 0xFF, 0xFF}; /* bytes 4-7 of every address in the page */
    for (ULONG Index = 0; Index < Image->Pe.SectionCount; Index++) {
        const LDR_SECTION *Section = &Image->Pe.Sections[Index];
        const UCHAR *At = Copy + Section->Rva, *End = At + Section->FileSize;
        while ((At = memmem(At, (SIZE_T)(End - At), High, sizeof(High))) != NULL) {
            ULONGLONG Value;
            UCHAR *Operand = (UCHAR *)At - 4;
            At += 4;
            if (Operand < Copy + Section->Rva) {
                continue;
            }
            memcpy(&Value, Operand, sizeof(Value));
            if (Value - LDRP_SHARED_ADDRESS >= LDRP_PAGE_SIZE) {
                continue;
            }
            if (!Image->UsesSharedData) {
                if (LdrpShared.Users == 0 && !NT_SUCCESS(LdrpMakeMirror())) {
                    LdrpSay(Error, ErrorSize, "no memory for the shared data page");
                    return STATUS_NO_MEMORY;
                }
                LdrpShared.Users++;
                Image->UsesSharedData = TRUE;
            }
            Value = Value - LDRP_SHARED_ADDRESS + (ULONG_PTR)LdrpShared.Mirror;
            memcpy(Operand, &Value, sizeof(Value));
        }
    }
    return STATUS_SUCCESS;
}

VOID LdrpReleaseSharedData(LDR_IMAGE *Image)
{
    if (Image->UsesSharedData && --LdrpShared.Users == 0) {
        KeCancelTimer(&LdrpShared.Timer);
        KeFlushQueuedDpcs();
        MmFreePages(LdrpShared.Mirror, 1);
        LdrpShared.Mirror = NULL;
    }
    Image->UsesSharedData = FALSE;
}
