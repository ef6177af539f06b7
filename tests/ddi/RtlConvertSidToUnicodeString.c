/*
 * RtlConvertSidToUnicodeString.c - what the pages of the SID routines say. SPDX-License-Identifier: MIT
 */
#include "rtl_kit.h"

static SID_IDENTIFIER_AUTHORITY Authority(ULONG64 Value)
{
    SID_IDENTIFIER_AUTHORITY This;
    for (ULONG i = 0; i < 6; i++) {
        This.Value[i] = (UCHAR)(Value >> (8 * (5 - i)));
    }
    return This;
}

typedef union BUFFER {
    SID Sid;
    UCHAR Room[SECURITY_MAX_SID_SIZE];
} BUFFER;

static PSID Make(BUFFER *Buffer, ULONG64 Value, UCHAR Count, const ULONG *Subs)
{
    SID_IDENTIFIER_AUTHORITY This = Authority(Value);
    assert_int_equal(RtlInitializeSid(Buffer, &This, Count), STATUS_SUCCESS);
    for (ULONG i = 0; i < Count; i++) {
        *RtlSubAuthoritySid(Buffer, i) = Subs[i];
    }
    return Buffer;
}
static const ULONG Subs[SID_MAX_SUB_AUTHORITIES] = {12, 72, 9, 110, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xFFFFFFFF};

/* The page's two examples: "S-1-281736-12-72-9-110" and "S-1-0x28651FE848-12-72-9-110". */
static void RtlConvertSidToUnicodeString_Authority_DecimalUpTo2To32_ElseHexadecimal(void **State)
{
    static const struct {
        ULONG64 Authority;
        const WCHAR *Text;
    } Cases[] = {{281736, L"S-1-281736-12-72-9-110"},
                 {173495281736, L"S-1-0x28651FE848-12-72-9-110"},
                 {0, L"S-1-0-12-72-9-110"},
                 {0x100000000, L"S-1-4294967296-12-72-9-110"}, /* "less than or equal to 2^32" */
                 {0x100000001, L"S-1-0x100000001-12-72-9-110"},
                 {0xFFFFFFFFFFFF, L"S-1-0xFFFFFFFFFFFF-12-72-9-110"}};
    BUFFER Buffer;
    UNREFERENCED_PARAMETER(State);
    for (ULONG i = 0; i < ARRAYSIZE(Cases); i++) {
        UNICODE_STRING String = {0, 0, NULL};
        assert_int_equal(RtlConvertSidToUnicodeString(&String, Make(&Buffer, Cases[i].Authority, 4, Subs), TRUE),
                         STATUS_SUCCESS);
        ExpectWide(&String, Cases[i].Text);
        RtlFreeUnicodeString(&String); /* "the allocated buffer must be deallocated by using RtlFreeUnicodeString" */
    }
}

static void RtlConvertSidToUnicodeString_Longest_Fits(void **State)
{
    ULONG Most[SID_MAX_SUB_AUTHORITIES];
    UNICODE_STRING String;
    BUFFER Buffer;
    UNREFERENCED_PARAMETER(State);
    memset(Most, 0xFF, sizeof Most);
    assert_int_equal(RtlConvertSidToUnicodeString(&String, Make(&Buffer, 0xFFFFFFFFFFFF, 15, Most), TRUE), STATUS_SUCCESS);
    assert_int_equal(String.Length, (4 + 14 + 15 * 11) * sizeof(WCHAR));
    assert_int_equal(String.MaximumLength, String.Length + sizeof(WCHAR));
    RtlFreeUnicodeString(&String);
    assert_int_equal(RtlConvertSidToUnicodeString(&String, Make(&Buffer, 5, 0, NULL), TRUE), STATUS_SUCCESS);
    ExpectWide(&String, L"S-1-5");
    RtlFreeUnicodeString(&String);
}

/* "STATUS_BUFFER_OVERFLOW ... is returned if AllocateDestinationString is FALSE and the caller supplied UnicodeString buffer is too small";
 * "The UnicodeString->MaximumLength member is set only if AllocateDestinationString is TRUE." */
static void RtlConvertSidToUnicodeString_CallersBuffer(void **State)
{
    WCHAR Room[13];
    UNICODE_STRING String = {3, sizeof Room, Room}, Exact = {0, 12 * sizeof(WCHAR), Room},
                   Small = {3, 11 * sizeof(WCHAR), Room};
    static const ULONG Administrators[] = {32, 544};
    BUFFER Buffer;
    PSID Sid = Make(&Buffer, 5, 2, Administrators);
    UNREFERENCED_PARAMETER(State);
    memset(Room, 0x55, sizeof Room);
    assert_int_equal(RtlConvertSidToUnicodeString(&String, Sid, FALSE), STATUS_SUCCESS);
    ExpectWide(&String, L"S-1-5-32-544");
    assert_int_equal(String.MaximumLength, sizeof Room);
    memset(Room, 0x55, sizeof Room);
    assert_int_equal(RtlConvertSidToUnicodeString(&Exact, Sid, FALSE), STATUS_SUCCESS);
    ExpectWide(&Exact, L"S-1-5-32-544");
    assert_int_equal(Room[12], 0x5555); /* what is not the caller's */
    assert_int_equal(RtlConvertSidToUnicodeString(&Small, Sid, FALSE), STATUS_BUFFER_OVERFLOW);
    assert_int_equal(Small.Length, 3);
}

/* "STATUS_INVALID_SID: The specified SID structure is not structurally valid." RtlValidSid: "TRUE if ... valid, FALSE otherwise". */
static void Sid_Invalid(void **State)
{
    UNICODE_STRING String;
    BUFFER Buffer;
    UNREFERENCED_PARAMETER(State);
    Make(&Buffer, 5, 15, Subs);
    assert_true(RtlValidSid(&Buffer));
    Buffer.Sid.Revision = 2;
    assert_false(RtlValidSid(&Buffer));
    assert_int_equal(RtlConvertSidToUnicodeString(&String, &Buffer, TRUE), STATUS_INVALID_SID);
    Buffer.Sid.Revision = SID_REVISION;
    Buffer.Sid.SubAuthorityCount = 16;
    assert_false(RtlValidSid(&Buffer));
    assert_int_equal(RtlConvertSidToUnicodeString(&String, &Buffer, TRUE), STATUS_INVALID_SID);
    assert_false(RtlValidSid(NULL));
}

/* RtlInitializeSid: "sets the number of subauthorities for the SID, it does not set the subauthority values"; "STATUS_INVALID_PARAMETER: The
 * specified SubAuthorityCount value is invalid." */
static void RtlInitializeSid_SetsAllButSubAuthorities(void **State)
{
    SID_IDENTIFIER_AUTHORITY Nt = Authority(5);
    BUFFER Buffer;
    UNREFERENCED_PARAMETER(State);
    memset(&Buffer, 0xAA, sizeof Buffer);
    assert_int_equal(RtlInitializeSid(&Buffer, &Nt, 16), STATUS_INVALID_PARAMETER);
    assert_int_equal(RtlInitializeSid(&Buffer, &Nt, 3), STATUS_SUCCESS);
    assert_int_equal(Buffer.Sid.Revision, SID_REVISION);
    assert_int_equal(*RtlSubAuthorityCountSid(&Buffer), 3);
    assert_memory_equal(RtlIdentifierAuthoritySid(&Buffer), &Nt, sizeof Nt);
    assert_int_equal(*RtlSubAuthoritySid(&Buffer, 0), 0xAAAAAAAA);
    assert_ptr_equal(RtlSubAuthoritySid(&Buffer, 14), &Buffer.Room[8 + 14 * 4]); /* "not validated against the number" */
}

/* RtlLengthRequiredSid, RtlLengthSid: "the length, in bytes"; RtlCopySid: "STATUS_BUFFER_TOO_SMALL". */
static void Sid_LengthsAndCopies(void **State)
{
    BUFFER From, To;
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlLengthRequiredSid(0), 8);
    assert_int_equal(RtlLengthRequiredSid(15), SECURITY_MAX_SID_SIZE);
    Make(&From, 5, 2, Subs);
    assert_int_equal(RtlLengthSid(&From), 16);
    memset(&To, 0, sizeof To);
    assert_int_equal(RtlCopySid(15, &To, &From), STATUS_BUFFER_TOO_SMALL);
    assert_int_equal(To.Sid.Revision, 0);
    assert_int_equal(RtlCopySid(16, &To, &From), STATUS_SUCCESS);
    assert_memory_equal(&To, &From, 16);
    assert_true(RtlEqualSid(&To, &From));
}

/* RtlEqualSid: "TRUE if the SID structures are equal"; RtlEqualPrefixSid: "TRUE if the SID prefixes are equal": S-1-1234-8 is the prefix of
 * S-1-1234-8-X, whatever X is. */
static void Sid_Equal_AndEqualPrefix(void **State)
{
    static const ULONG Domain[] = {8, 500}, User[] = {8, 501}, Other[] = {9, 500};
    BUFFER A, B, C, D;
    UNREFERENCED_PARAMETER(State);
    Make(&A, 1234, 2, Domain);
    Make(&B, 1234, 2, User);
    Make(&C, 1234, 2, Other);
    Make(&D, 1234, 1, Domain);
    assert_false(RtlEqualSid(&A, &B));
    assert_true(RtlEqualPrefixSid(&A, &B));
    assert_false(RtlEqualPrefixSid(&A, &C));
    assert_false(RtlEqualSid(&A, &D));
    assert_false(RtlEqualPrefixSid(&A, &D));
    Make(&C, 1235, 2, Domain);
    assert_false(RtlEqualSid(&A, &C));
    assert_false(RtlEqualPrefixSid(&A, &C));
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(RtlConvertSidToUnicodeString_Authority_DecimalUpTo2To32_ElseHexadecimal),
        cmocka_unit_test(RtlConvertSidToUnicodeString_Longest_Fits),
        cmocka_unit_test(RtlConvertSidToUnicodeString_CallersBuffer),
        cmocka_unit_test(Sid_Invalid),
        cmocka_unit_test(RtlInitializeSid_SetsAllButSubAuthorities),
        cmocka_unit_test(Sid_LengthsAndCopies),
        cmocka_unit_test(Sid_Equal_AndEqualPrefix),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
