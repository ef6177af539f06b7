/*
 * version.c - the Windows version that ntmm says it is, and comparing with it.
 *
 * 10.0 build 19045, no service pack, workstation: new enough for every routine offered, and the version that
 * drivers in the field know best.
 *
 * VerSetConditionMask packs three bits a field: field n (bit n of the type mask) at bits 3n..3n+2.
 * RtlVerifyVersionInfo compares major, minor, service-pack major and minor as one number, as documented: a
 * lower field decides only if all higher ones are equal and the condition is >, >=, < or <=.
 * SPDX-License-Identifier: MIT
 */
#include "rtl/rtlp.h"

#define RTLP_MAJOR 10
#define RTLP_MINOR 0
#define RTLP_BUILD 19045

NTSTATUS RtlGetVersion(PRTL_OSVERSIONINFOW lpVersionInformation)
{
    ULONG Size = lpVersionInformation->dwOSVersionInfoSize;
    if (Size != sizeof(RTL_OSVERSIONINFOW) && Size != sizeof(RTL_OSVERSIONINFOEXW))
        return STATUS_INVALID_PARAMETER;
    memset(lpVersionInformation, 0, Size);
    lpVersionInformation->dwOSVersionInfoSize = Size;
    lpVersionInformation->dwMajorVersion = RTLP_MAJOR;
    lpVersionInformation->dwMinorVersion = RTLP_MINOR;
    lpVersionInformation->dwBuildNumber = RTLP_BUILD;
    lpVersionInformation->dwPlatformId = VER_PLATFORM_WIN32_NT;
    if (Size == sizeof(RTL_OSVERSIONINFOEXW)) {
        PRTL_OSVERSIONINFOEXW Extended = (PRTL_OSVERSIONINFOEXW)(PVOID)lpVersionInformation;
        Extended->wSuiteMask = 0x100; /* single user terminal services, as on every workstation */
        Extended->wProductType = VER_NT_WORKSTATION;
    }
    return STATUS_SUCCESS;
}

ULONGLONG VerSetConditionMask(ULONGLONG ConditionMask, ULONG TypeMask, UCHAR Condition)
{
    if (TypeMask == 0)
        return ConditionMask;
    /* One field a call; of several bits the highest counts. */
    ULONG Field = 31 - (ULONG)__builtin_clz(TypeMask);
    return ConditionMask | (ULONGLONG)(Condition & VER_CONDITION_MASK) << (Field * VER_NUM_BITS_PER_CONDITION_MASK);
}

static ULONG RtlpCondition(ULONGLONG ConditionMask, ULONG TypeBit)
{
    return (ULONG)(ConditionMask >> ((ULONG)__builtin_ctz(TypeBit) * VER_NUM_BITS_PER_CONDITION_MASK)) & VER_CONDITION_MASK;
}

static BOOLEAN RtlpHolds(ULONG Condition, ULONG Ours, ULONG Wanted)
{
    switch (Condition) {
    case VER_EQUAL:
        return (BOOLEAN)(Ours == Wanted);
    case VER_GREATER:
        return (BOOLEAN)(Ours > Wanted);
    case VER_GREATER_EQUAL:
        return (BOOLEAN)(Ours >= Wanted);
    case VER_LESS:
        return (BOOLEAN)(Ours < Wanted);
    case VER_LESS_EQUAL:
        return (BOOLEAN)(Ours <= Wanted);
    default:
        return FALSE;
    }
}

NTSTATUS RtlVerifyVersionInfo(PRTL_OSVERSIONINFOEXW VersionInfo, ULONG TypeMask, ULONGLONG ConditionMask)
{
    RTL_OSVERSIONINFOEXW Ours = {.dwOSVersionInfoSize = sizeof(Ours)};
    if (TypeMask == 0 || ConditionMask == 0)
        return STATUS_INVALID_PARAMETER;
    RtlGetVersion((PRTL_OSVERSIONINFOW)(PVOID)&Ours);

    if (TypeMask & VER_SUITENAME) {
        ULONG Condition = RtlpCondition(ConditionMask, VER_SUITENAME), Common = Ours.wSuiteMask & VersionInfo->wSuiteMask;
        if (Condition == VER_AND ? Common != VersionInfo->wSuiteMask : Condition == VER_OR ? Common == 0 : TRUE)
            return STATUS_REVISION_MISMATCH;
    }
    /* The hierarchy: each level decides unless it is equal, and only with its own condition. */
    struct {
        ULONG Type, Ours, Wanted;
    } const Levels[] = {
        {VER_MAJORVERSION, Ours.dwMajorVersion, VersionInfo->dwMajorVersion},
        {VER_MINORVERSION, Ours.dwMinorVersion, VersionInfo->dwMinorVersion},
        {VER_SERVICEPACKMAJOR, Ours.wServicePackMajor, VersionInfo->wServicePackMajor},
        {VER_SERVICEPACKMINOR, Ours.wServicePackMinor, VersionInfo->wServicePackMinor},
    };
    ULONG Condition = VER_EQUAL;
    BOOLEAN Holds = TRUE;
    for (ULONG i = 0; i < ARRAYSIZE(Levels); i++) {
        if (!(TypeMask & Levels[i].Type))
            continue;
        if (Condition == VER_EQUAL)
            Condition = RtlpCondition(ConditionMask, Levels[i].Type);
        Holds = RtlpHolds(Condition, Levels[i].Ours, Levels[i].Wanted);
        if (Levels[i].Ours != Levels[i].Wanted)
            break;
    }
    if (!Holds)
        return STATUS_REVISION_MISMATCH;

    struct {
        ULONG Type, Ours, Wanted;
    } const Others[] = {
        {VER_BUILDNUMBER, Ours.dwBuildNumber, VersionInfo->dwBuildNumber},
        {VER_PLATFORMID, Ours.dwPlatformId, VersionInfo->dwPlatformId},
        {VER_PRODUCT_TYPE, Ours.wProductType, VersionInfo->wProductType},
    };
    for (ULONG i = 0; i < ARRAYSIZE(Others); i++)
        if ((TypeMask & Others[i].Type) &&
            !RtlpHolds(RtlpCondition(ConditionMask, Others[i].Type), Others[i].Ours, Others[i].Wanted))
            return STATUS_REVISION_MISMATCH;
    return STATUS_SUCCESS;
}

BOOLEAN RtlIsNtDdiVersionAvailable(ULONG Version)
{
    /* 0xMMmmSSss; the service-pack fields must be 0 in this call. From 10.0 on the last byte is the release:
     * 19045 is that of 0x0A000008. */
    if ((Version & 0xFFFF0000) != 0x0A000000 && (Version & 0xFFFF))
        return FALSE;
    return (BOOLEAN)(Version <= 0x0A000008);
}

BOOLEAN RtlIsServicePackVersionInstalled(ULONG Version)
{
    return (BOOLEAN)((Version & 0xFFFF0000) == 0x0A000000 && (Version & 0xFFFF) == 0);
}
