/*
 * memory_forms.c - what the pages of the run-time library's memory routines say: volatile, device, nontemporal and unaligned forms.
 * SPDX-License-Identifier: MIT
 */
#include "rtl_kit.h"

static const UCHAR Text[16] = "0123456789abcdef";

/* RtlMoveMemory: "the source memory block ... can overlap the destination". */
static void RtlMoveMemory_Overlapping_Moves(void **State)
{
    UCHAR Room[16];
    (void)State;
    memcpy(Room, Text, 16);
    RtlMoveMemory(Room + 2, Room, 10);
    assert_memory_equal(Room, "010123456789cdef", 16);
    memcpy(Room, Text, 16);
    RtlMoveMemory(Room, Room + 2, 10);
    assert_memory_equal(Room, "23456789ab", 10);
    RtlCopyBytes(Room, Text, 16);
    assert_memory_equal(Room, Text, 16);
    memmove(Room + 1, Room, 15);
    assert_memory_equal(Room, "00123456789abcde", 16);
    RtlFillMemory(Room, 5, 'x'); /* the length before the value */
    assert_memory_equal(Room, "xxxxx456789abcde", 16);
    RtlCopyBytes(Room, Text, 16);
    RtlZeroBytes(Room + 4, 4);
    assert_memory_equal(Room, "0123\0\0\0\08", 9);
}

/* RtlFillMemoryUlonglong: Length/8 ULONGLONGs. */
static void RtlFillMemoryUlonglong_WholeOnes(void **State)
{
    ULONGLONG Room[4] = {1, 2, 3, 4};
    (void)State;
    RtlFillMemoryUlonglong(Room, 3 * sizeof(ULONGLONG), 0x123456789ABCDEF0);
    assert_true(Room[0] == 0x123456789ABCDEF0 && Room[1] == Room[0] && Room[2] == Room[0] && Room[3] == 4);
}

/* "only performs a non-temporal copy ... when the Length parameter is 8 bytes or greater. Otherwise ... equivalent to RtlCopyMemory." Every
 * length and alignment copies just what was asked for. */
static void NonTemporal_EveryLengthAndAlignment(void **State)
{
    UCHAR From[100], Room[100];
    (void)State;
    for (ULONG i = 0; i < sizeof From; i++) {
        From[i] = (UCHAR)(i + 1);
    }
    for (ULONG Offset = 0; Offset < 16; Offset++) {
        for (ULONG Length = 0; Length < 70; Length++) {
            memset(Room, 0, sizeof Room);
            RtlPrefetchMemoryNonTemporal(From, sizeof From);
            RtlCopyMemoryNonTemporal(Room + Offset, From + 3, Length);
            for (ULONG i = 0; i < sizeof Room; i++) {
                assert_int_equal(Room[i], i >= Offset && i < Offset + Length ? From[3 + i - Offset] : 0);
            }
            RtlFillMemoryNonTemporal(Room + Offset, Length, 0xEE);
            for (ULONG i = 0; i < sizeof Room; i++) {
                assert_int_equal(Room[i], i >= Offset && i < Offset + Length ? 0xEE : 0);
            }
        }
    }
}

/* The volatile and device forms return Destination; Set takes the value first, Fill the length. */
static void VolatileAndDevice_FillAndCopy(void **State)
{
    UCHAR Room[40];
    (void)State;
    for (ULONG Length = 0; Length < 20; Length++) {
        memset(Room, 1, sizeof Room);
        assert_ptr_equal(RtlFillVolatileMemory(Room + 3, Length, 7), Room + 3);
        assert_ptr_equal(RtlSetVolatileMemory(Room + 23, 9, Length < 17 ? Length : 16), Room + 23);
        for (ULONG i = 0; i < 23; i++) {
            assert_int_equal(Room[i], i >= 3 && i < 3 + Length ? 7 : 1);
        }
        for (ULONG i = 23; i < 39; i++) {
            assert_int_equal(Room[i], i < 23 + (Length < 17 ? Length : 16) ? 9 : 1);
        }
        assert_ptr_equal(RtlSetDeviceMemory(Room + 1, 5, Length), Room + 1);
        assert_true(Length == 0 || (Room[1] == 5 && Room[Length] == 5));
        assert_ptr_equal(RtlZeroDeviceMemory(Room + 1, Length), Room + 1);
        assert_true(Length == 0 || (Room[1] == 0 && Room[Length] == 0));
        assert_int_equal(Room[0], 1);
    }
    assert_ptr_equal(RtlCopyVolatileMemory(Room, Text, 16), Room);
    assert_memory_equal(Room, Text, 16);
    assert_ptr_equal(RtlSecureZeroMemory2(Room, 8), Room);
    assert_memory_equal(Room,
                        "\0\0\0\0\0\0\0\0"
                        "89abcdef",
                        16);
}

/* RtlRetrieveUshort, RtlStoreUlonglong, RtlStoreUlongPtr: at any alignment. */
static void Unaligned_StoreAndRetrieve(void **State)
{
    UCHAR Room[32] = {0};
    USHORT Short = 0;
    (void)State;
    RtlStoreUlonglong(Room + 1, 0x1122334455667788);
    RtlRetrieveUshort(&Short, Room + 1);
    assert_int_equal(Short, 0x7788);
    assert_int_equal(Room[0], 0);
    assert_int_equal(Room[8], 0x11);
    assert_int_equal(Room[9], 0);
    RtlStoreUlongPtr(Room + 3, (ULONG_PTR)0xA0B0C0D0E0F00102);
    RtlRetrieveUshort(&Short, Room + 3);
    assert_int_equal(Short, 0x0102);
    assert_int_equal(Room[10], 0xA0);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(RtlMoveMemory_Overlapping_Moves),     cmocka_unit_test(RtlFillMemoryUlonglong_WholeOnes),
        cmocka_unit_test(NonTemporal_EveryLengthAndAlignment), cmocka_unit_test(VolatileAndDevice_FillAndCopy),
        cmocka_unit_test(Unaligned_StoreAndRetrieve),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
