/*
 * pool.c - cases of the detection matrix: the pools: frees, requests, damage, special pool. SPDX-License-Identifier: MIT
 */
#include "matrix.h"

/* ---- 0xC2: frees and requests ---- */
SIN(C2_7)
{
    PUCHAR B = NonPaged(100);
    ExFreePool(B);
    Expect(0xC2, 7, 0, TAG, P(B));
    ExFreePool(B);
}
RIGHT(C2_7)
{
    PUCHAR B = NonPaged(100);
    ExFreePool(B);
    B = NonPaged(100); /* perhaps the same address: another block */
    ExFreePoolWithTag(B, TAG);
}
SIN(C2_8)
{
    Raise(DISPATCH_LEVEL);
    Expect(0xC2, 8, DISPATCH_LEVEL, PagedPool, 100);
    Sink = (UCHAR)P(Paged(100));
}
RIGHT(C2_8)
{
    KIRQL Old = Raise(DISPATCH_LEVEL);
    PUCHAR B = NonPaged(100);
    ExFreePool(B);
    KeLowerIrql(Old);
    Old = Raise(APC_LEVEL);
    ExFreePool(Paged(100));
    KeLowerIrql(Old);
}
SIN(C2_9)
{
    PUCHAR B = Paged(100);
    Raise(DISPATCH_LEVEL);
    Expect(0xC2, 9, DISPATCH_LEVEL, PagedPool, P(B));
    ExFreePool(B);
}
SIN(C2_A)
{
    PUCHAR B = NonPaged(100);
    Expect(0xC2, 0xA, P(B), TAG, 'rhtO');
    ExFreePoolWithTag(B, 'rhtO');
}
RIGHT(C2_A)
{
    ExFreePoolWithTag(NonPaged(100), 0); /* not checked */
    ExFreePoolWithTag(ExAllocatePoolWithTag(NonPagedPoolNx, 10, TAG | PROTECTED_POOL), TAG | PROTECTED_POOL);
}
SIN(C2_40)
{
    Expect(0xC2, 0x40, 0, P(MmSystemRangeStart), 0);
    (ExFreePool)(NULL);
}
SIN(C2_42)
{
    UCHAR Local[64];
    Expect(0xC2, 0x42, P(Local), 0, 0);
    (ExFreePool)(Local);
}
SIN(C2_44)
{
    PUCHAR At = FarIn(MmRegionNonPagedPool);
    Expect(0xC2, 0x44, P(At), 0, 0);
    ExFreePool(At);
}
SIN(C2_46)
{
    PUCHAR B = NonPaged(100);
    Expect(0xC2, 0x46, P(B) + 16, 0, 0);
    ExFreePool(B + 16);
}
SIN(C2_50)
{
    PUCHAR At = FarIn(MmRegionPagedPool);
    Expect(0xC2, 0x50, P(At), PageOf(MmRegionPagedPool, At), ANY);
    ExFreePool(At);
}
SIN(C2_41286)
{
    PUCHAR B = Paged(100);
    Expect(0xC2, 0x41286, 0, 0, PageOf(MmRegionPagedPool, B));
    ExFreePool(B + 16);
}
SIN(C2_60)
{
    PHYSICAL_ADDRESS Highest = {.QuadPart = -1};
    PUCHAR Va = MmAllocateContiguousMemory(2 * PAGE_SIZE, Highest);
    Expect(0xC2, 0x60, P(Va) + 8, 0, 0);
    MmFreeContiguousMemory(Va + 8);
}
RIGHT(C2_60)
{
    PHYSICAL_ADDRESS Highest = {.QuadPart = -1};
    MmFreeContiguousMemory(MmAllocateContiguousMemory(2 * PAGE_SIZE, Highest));
}
SIN(C2_99)
{
    PUCHAR B = NonPaged(100);
    POOL_EXTENDED_PARAMETER One;
    memset(&One, 0, sizeof One);
    Expect(0xC2, 0x99, P(B), 0, 0);
    ExFreePool2(B, TAG, &One, 1);
}
RIGHT(C2_99)
{
    ExFreePool2(NonPaged(100), TAG, NULL, 0);
}
SIN(C2_9A)
{
    Expect(0xC2, 0x9A, NonPagedPoolMustSucceed, 100, TAG);
    Sink = (UCHAR)P(ExAllocatePoolWithTag(NonPagedPoolMustSucceed, 100, TAG));
}
SIN(C2_9B)
{
    Expect(0xC2, 0x9B, PagedPool, 100, ANY);
    Sink = (UCHAR)P(ExAllocatePoolWithTag(PagedPool, 100, 0));
}
SIN(C2_9C)
{
    Expect(0xC2, 0x9C, PagedPool, 100, ANY);
    Sink = (UCHAR)P(ExAllocatePoolWithTag(PagedPool, 100, 0x474942));
}
SIN(C2_9D)
{
    Expect(0xC2, 0x9D, '....', PagedPool, ANY);
    Sink = (UCHAR)P(ExAllocatePoolWithTag(PagedPool, 100, '....'));
}
RIGHT(C2_9D)
{
    ExFreePool(ExAllocatePoolWithTag(PagedPool, 100, '...z'));
    ExFreePool(ExAllocatePoolWithTag(PagedPool, 100, 'GIBx'));
}

/* ---- damage ---- */
SIN(19_21)
{
    PUCHAR B = NonPaged(100);
    B[100] = 0x77;
    Expect(0x19, 0x21, P(B), 100, ANY);
    ExFreePool(B);
}
RIGHT(19_21)
{
    PUCHAR B = NonPaged(100);
    memset(B, 0x77, 100);
    ExFreePool(B);
}
SIN(C6)
{
    PUCHAR B = NonPaged(112);
    unsigned Index;
    ExFreePool(B);
    B[3] = 0x77;
    Expect(0xC6, ANY, 1, 0, ANY);
    for (Index = 0; Index < 100000; Index++)
        Sink = *NonPaged(112);
}
RIGHT(C6)
{
    unsigned Index;
    for (Index = 0; Index < 1000; Index++) {
        PUCHAR B = NonPaged(112);
        memset(B, 1, 112);
        ExFreePool(B);
    }
}

/* ---- special pool (verifier 0x1) ---- */
SIN(C1_20)
{
    PUCHAR B = NonPaged(100);
    ExFreePool(B);
    Expect(0xC1, P(B), 0, 0, 0x20);
    ExFreePool(B);
}
SIN(C1_21)
{
    PUCHAR B = NonPaged(100);
    Expect(0xC1, P(B) + 16, 100, 84, 0x21);
    ExFreePool(B + 16);
}
SIN(C1_23)
{
    PUCHAR B = NonPaged(96);
    B[-3] ^= 0xFF;
    Expect(0xC1, P(B), P(B) - 3, ANY, 0x23);
    ExFreePool(B);
}
SIN(C1_24)
{
    PUCHAR B = NonPaged(100);
    B[101] ^= 0xFF;
    Expect(0xC1, P(B), P(B) + 101, ANY, 0x24);
    ExFreePool(B);
}
SIN(C1_31)
{
    PUCHAR B = Paged(100);
    Raise(DISPATCH_LEVEL);
    Expect(0xC1, DISPATCH_LEVEL, PagedPool, P(B), 0x31);
    ExFreePool(B);
}
SIN(C1_32)
{
    PUCHAR B = NonPaged(100);
    B[101] ^= 0x10;
    Expect(0xC1, P(B), P(B) + 101, ANY, 0x32);
    ExFreePool(B);
}
RIGHT(special)
{
    unsigned Size;
    for (Size = 1; Size < 6000; Size += Size < 64 ? 1 : 333) {
        PUCHAR B = Size & 1 ? Paged(Size) : NonPaged(Size);
        memset(B, 0x11, Size);
        ExFreePoolWithTag(B, TAG);
    }
}
SIN(CC)
{
    PKEVENT Event = (PKEVENT)NonPaged(sizeof *Event);
    KeInitializeEvent(Event, NotificationEvent, FALSE);
    ExFreePool(Event);
    Expect(0xCC, ANY, ANY, ANY, 0);
    KeSetEvent(Event, 0, FALSE);
}
SIN(CD)
{
    PUCHAR B = NonPaged(16);
    Expect(0xCD, P(B) + 16, ANY, ANY, 0);
    KeSetEvent((PKEVENT)(B + 16), 0, FALSE);
}
SIN(D5)
{
    PUCHAR B = NonPaged(100);
    ExFreePool(B);
    Expect(0xD5, P(B) + 7, 0, ANY, 0);
    Sink = *(volatile UCHAR *)(B + 7);
}
SIN(D6)
{
    PUCHAR B = NonPaged(128);
    Expect(0xD6, P(B) + 128, 1, ANY, 0);
    *(volatile UCHAR *)(B + 128) = 1;
}

CASES(Pool){"0xC2/0x7", "", Sin_C2_7, Right_C2_7, 0}, {"0xC2/0x8", "", Sin_C2_8, Right_C2_8, 0},
    {"0xC2/0x9", "", Sin_C2_9, Right_C2_8, 0}, {"0xC2/0xA", "", Sin_C2_A, Right_C2_A, 0}, {"0xC2/0x40", "", Sin_C2_40, NULL, 0},
    {"0xC2/0x42", "", Sin_C2_42, NULL, 0}, {"0xC2/0x44", "", Sin_C2_44, NULL, 0}, {"0xC2/0x46", "", Sin_C2_46, NULL, 0},
    {"0xC2/0x50", "", Sin_C2_50, NULL, 0}, {"0xC2/0x41286", "", Sin_C2_41286, NULL, 0},
    {"0xC2/0x60", "", Sin_C2_60, Right_C2_60, 0}, {"0xC2/0x99", "", Sin_C2_99, Right_C2_99, 0},
    {"0xC2/0x9A", "", Sin_C2_9A, NULL, 0}, {"0xC2/0x9B", "verifier=pool_tracking", Sin_C2_9B, NULL, 0},
    {"0xC2/0x9C", "verifier=pool_tracking", Sin_C2_9C, NULL, 0},
    {"0xC2/0x9D", "verifier=pool_tracking", Sin_C2_9D, Right_C2_9D, 0}, {"0x19/0x21", "", Sin_19_21, Right_19_21, 0},
    {"0xC6", "", Sin_C6, Right_C6, 0}, {"0xC1/0x20", STANDARD, Sin_C1_20, Right_C2_7, 0},
    {"0xC1/0x21", STANDARD, Sin_C1_21, Right_special, 0}, {"0xC1/0x23", STANDARD, Sin_C1_23, Right_special, 0},
    {"0xC1/0x24", STANDARD, Sin_C1_24, Right_19_21, 0}, {"0xC1/0x31", "verifier=special_pool", Sin_C1_31, Right_C2_8, 0},
    {"0xC1/0x32", STANDARD, Sin_C1_32, Right_special, 0}, {"0xCC", "verifier=special_pool", Sin_CC, NULL, 0},
    {"0xCD", "verifier=special_pool", Sin_CD, NULL, 0}, {"0xD5", STANDARD, Sin_D5, Right_C6, 0},
    {"0xD6", STANDARD, Sin_D6, Right_special, 0}, END_CASES(Pool)
