/*
 * sid.c - security identifiers: made, compared, copied, spelt out. SPDX-License-Identifier: MIT
 *
 *      Revision  SubAuthorityCount  IdentifierAuthority[6]  SubAuthority[SubAuthorityCount]
 *      1         at most 15         big-endian, 48 bits     ULONGs
 *
 * As text: S-1-authority-sub-sub..., all decimal, but for an authority above 2^32, which is hexadecimal. Nothing here looks at who a SID
 * stands for. A SID is the caller's and may be pageable: IRQL <= APC_LEVEL, RtlEqualSid any.
 */
#include "rtl/rtlp.h"

/* "S-1-", 18 characters of authority at most, and "-4294967295" each. */
#define RTLP_SID_CHARS (4 + 18 + SID_MAX_SUB_AUTHORITIES * 11)

BOOLEAN RtlValidSid(PSID Sid)
{
    const SID *This = Sid;
    return This != NULL && This->Revision == SID_REVISION && This->SubAuthorityCount <= SID_MAX_SUB_AUTHORITIES;
}

ULONG RtlLengthRequiredSid(ULONG SubAuthorityCount)
{
    return (ULONG)offsetof(SID, SubAuthority) + SubAuthorityCount * (ULONG)sizeof(ULONG);
}

ULONG RtlLengthSid(PSID Sid)
{
    return RtlLengthRequiredSid(((const SID *)Sid)->SubAuthorityCount);
}

NTSTATUS RtlInitializeSid(PSID Sid, PSID_IDENTIFIER_AUTHORITY IdentifierAuthority, UCHAR SubAuthorityCount)
{
    SID *This = Sid;
    if (SubAuthorityCount > SID_MAX_SUB_AUTHORITIES)
        return STATUS_INVALID_PARAMETER;
    This->Revision = SID_REVISION;
    This->SubAuthorityCount = SubAuthorityCount;
    This->IdentifierAuthority = *IdentifierAuthority;
    return STATUS_SUCCESS;
}

PSID_IDENTIFIER_AUTHORITY RtlIdentifierAuthoritySid(PSID Sid)
{
    return &((SID *)Sid)->IdentifierAuthority;
}

PULONG RtlSubAuthoritySid(PSID Sid, ULONG SubAuthority)
{
    return (PULONG)((PUCHAR)Sid + RtlLengthRequiredSid(SubAuthority));
}

PUCHAR RtlSubAuthorityCountSid(PSID Sid)
{
    return &((SID *)Sid)->SubAuthorityCount;
}

BOOLEAN RtlEqualSid(PSID Sid1, PSID Sid2)
{
    const SID *One = Sid1, *Other = Sid2;
    return One->Revision == Other->Revision && One->SubAuthorityCount == Other->SubAuthorityCount &&
           memcmp(One, Other, RtlLengthSid(Sid1)) == 0;
}

/* All but the last subauthority. */
BOOLEAN RtlEqualPrefixSid(PSID Sid1, PSID Sid2)
{
    const SID *One = Sid1, *Other = Sid2;
    ULONG Count = One->SubAuthorityCount;
    return One->Revision == Other->Revision && Count == Other->SubAuthorityCount &&
           memcmp(One, Other, RtlLengthRequiredSid(Count > 0 ? Count - 1 : 0)) == 0;
}

NTSTATUS RtlCopySid(ULONG DestinationSidLength, PSID DestinationSid, PSID SourceSid)
{
    ULONG Length = RtlLengthSid(SourceSid);
    if (Length > DestinationSidLength)
        return STATUS_BUFFER_TOO_SMALL;
    memmove(DestinationSid, SourceSid, Length);
    return STATUS_SUCCESS;
}

static PWCH RtlpPutNumber(PWCH To, ULONG64 Value, ULONG Base)
{
    CHAR Digits[64];
    ULONG Count = RtlpDigits(Value, Base, Digits);
    for (ULONG Index = 0; Index < Count; Index++)
        *To++ = (UCHAR)Digits[Index];
    return To;
}

NTSTATUS RtlConvertSidToUnicodeString(PUNICODE_STRING UnicodeString, PSID Sid, BOOLEAN AllocateDestinationString)
{
    WCHAR Text[RTLP_SID_CHARS];
    PWCH End = Text;
    ULONG64 Authority = 0;
    if (!RtlValidSid(Sid))
        return STATUS_INVALID_SID;
    for (ULONG i = 0; i < 6; i++)
        Authority = Authority << 8 | ((const SID *)Sid)->IdentifierAuthority.Value[i];
    *End++ = 'S';
    *End++ = '-';
    End = RtlpPutNumber(End, SID_REVISION, 10);
    *End++ = '-';
    if (Authority > (ULONG64)1 << 32) {
        *End++ = '0';
        *End++ = 'x';
        End = RtlpPutNumber(End, Authority, 16);
    } else {
        End = RtlpPutNumber(End, Authority, 10);
    }
    for (ULONG i = 0; i < ((const SID *)Sid)->SubAuthorityCount; i++) {
        *End++ = '-';
        End = RtlpPutNumber(End, *RtlSubAuthoritySid(Sid, i), 10);
    }
    USHORT Length = (USHORT)((PUCHAR)End - (PUCHAR)Text);
    if (AllocateDestinationString) {
        UnicodeString->Buffer = RtlpAllocateString(Length + sizeof(WCHAR));
        if (UnicodeString->Buffer == NULL)
            return STATUS_NO_MEMORY;
        UnicodeString->MaximumLength = (USHORT)(Length + sizeof(WCHAR));
    } else if (Length > UnicodeString->MaximumLength) {
        return STATUS_BUFFER_OVERFLOW;
    }
    memcpy(UnicodeString->Buffer, Text, Length);
    UnicodeString->Length = Length;
    if (UnicodeString->MaximumLength - Length >= (LONG)sizeof(WCHAR))
        UnicodeString->Buffer[Length / sizeof(WCHAR)] = 0;
    return STATUS_SUCCESS;
}
