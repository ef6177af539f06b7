/*
 * driver.c - drivers as the Verifier sees them: whose code an address is, which are verified, and what each leaves behind.
 * SPDX-License-Identifier: MIT
 *
 * A driver binary is its image's addresses. Everything else, a source driver and the program around it, is "the program": code
 * linked into one program cannot be told apart. VfOptions.Drivers names the verified ones ("foo.sys+bar", without regard to
 * case, ".sys" may be left out, "program" for the program); nothing named means all.
 *
 * Pool tracking (0x8). When a driver has been unloaded (io calls after DriverUnload, through IopDriverRoutine), the live blocks of
 * the pools are walked, and those that its code allocated are its leak: bug check 0xC4/0x62 (driver's name, its record, blocks).
 * Whose code it was, the kept call stack tells: its first frame that is not the border's; of MDLs and work items, which the system
 * allocates on its behalf, the first that is not the system's. For a source driver the frames of this library are left out
 * (KiIsDriverCodeRoutine) and so is what the program had already when the driver was loaded, by number.
 *
 * The list only grows, so it is read without a lock; DriverLock guards adding. PASSIVE_LEVEL but for ViDriverOf (any IRQL).
 */
#include "vf/vfp.h"

static KI_LOCK DriverLock;
static VI_DRIVER *ViDrivers;
static VI_DRIVER ViProgram;

static CHAR ViLower(CHAR C)
{
    return C >= 'A' && C <= 'Z' ? (CHAR)(C + 32) : C;
}

static ULONG ViLength(const CHAR *Name, CHAR End)
{
    ULONG Length = 0;
    while (Name[Length] != 0 && Name[Length] != End)
        Length++;
    if (Length > 4 && ViLower(Name[Length - 4]) == '.' && ViLower(Name[Length - 3]) == 's' &&
        ViLower(Name[Length - 2]) == 'y' && ViLower(Name[Length - 1]) == 's')
        Length -= 4;
    return Length;
}

BOOLEAN VfNamesDriver(const CHAR *List, const CHAR *Name)
{
    ULONG Length = ViLength(Name, 0), Index = 0;
    while (Index < Length && ViLower(List[Index]) == ViLower(Name[Index]))
        Index++;
    return Index == Length && ViLength(List, '+') == Length;
}

BOOLEAN ViNameIsChosen(const CHAR *Name)
{
    const CHAR *List = VfOptions.Drivers;
    if (List == NULL || *List == 0)
        return TRUE;
    for (;;) {
        if (VfNamesDriver(List, Name))
            return TRUE;
        while (*List != 0 && *List != '+')
            List++;
        if (*List == 0)
            return FALSE;
        List++;
    }
}

VI_DRIVER *ViDriverOf(ULONG_PTR Address)
{
    for (VI_DRIVER *Driver = __atomic_load_n(&ViDrivers, __ATOMIC_ACQUIRE); Driver != NULL; Driver = Driver->Next)
        if (Driver->Loaded && Address - Driver->Base < Driver->Size)
            return Driver;
    return &ViProgram;
}

/* ---- what a driver may ask ---- */
BOOLEAN (*VfImportsRoutine)(ULONG_PTR Address, BOOLEAN (*IsVerified)(ULONG_PTR Base));

static BOOLEAN ViIsVerifiedAt(ULONG_PTR Address)
{
    return KiVerifierFlags() != 0 && ViDriverOf(Address)->Verified;
}

LOGICAL MmIsDriverSuspectForVerifier(PDRIVER_OBJECT DriverObject)
{
    const VI_DRIVER *Driver = __atomic_load_n(&ViDrivers, __ATOMIC_ACQUIRE);
    while (Driver != NULL && !(Driver->Loaded && Driver->Object == DriverObject))
        Driver = Driver->Next;
    return Driver != NULL ? KiVerifierFlags() != 0 && Driver->Verified : ViIsVerifiedAt((ULONG_PTR)DriverObject->DriverInit);
}

LOGICAL MmIsDriverVerifyingByAddress(PVOID AddressWithinSection)
{
    return ViIsVerifiedAt((ULONG_PTR)AddressWithinSection) ||
           (VfImportsRoutine != NULL && VfImportsRoutine((ULONG_PTR)AddressWithinSection, ViIsVerifiedAt));
}

LOGICAL MmIsDriverVerifying(PDRIVER_OBJECT DriverObject)
{
    return MmIsDriverSuspectForVerifier(DriverObject) ||
           MmIsDriverVerifyingByAddress((PVOID)(ULONG_PTR)DriverObject->DriverInit);
}

const CHAR *ViNameOfCode(ULONG_PTR Address)
{
    const VI_DRIVER *Driver = ViDriverOf(Address), *Source = NULL;
    ULONG Sources = 0;
    for (VI_DRIVER *Any = __atomic_load_n(&ViDrivers, __ATOMIC_ACQUIRE); Driver == &ViProgram && Any != NULL; Any = Any->Next) {
        if (Any->Loaded && Any->Size == 0) {
            Source = Any;
            Sources++;
        }
    }
    return Sources == 1 ? Source->Name : Driver->Name;
}

/* The library is compiled with frame pointers: the border's frame holds the image's return address. */
KI_NO_MSAN ULONG_PTR ViCallerOf(ULONG_PTR ReturnAddress)
{
    const ULONG_PTR *Frame = __builtin_frame_address(0);
    KTHREAD *Thread = KiCurrentThread();
    if (ReturnAddress - KiBorderStart >= KiBorderEnd - KiBorderStart)
        return ReturnAddress;
    for (ULONG Depth = 0; Depth < 16; Depth++) {
        if ((ULONG_PTR)Frame < Thread->StackLow || (ULONG_PTR)Frame >= Thread->StackHigh - 16 || ((ULONG_PTR)Frame & 7))
            break;
        if (MmRegionOf((const VOID *)Frame[1]) == MmRegionDriverImages)
            return Frame[1];
        if (Frame[0] <= (ULONG_PTR)Frame)
            break;
        Frame = (const ULONG_PTR *)Frame[0];
    }
    return ReturnAddress;
}

BOOLEAN ViOthersUnseen(VOID)
{
    return VfOptions.Drivers != NULL && *VfOptions.Drivers != 0;
}

/* Between a driver binary's call and here are the border's frame and a few of the library's. */
KI_NO_MSAN BOOLEAN ViIsCallerVerified(VOID)
{
    const ULONG_PTR *Frame = __builtin_frame_address(0);
    const KTHREAD *Thread = KiCurrentThread();
    for (ULONG Depth = 0; Depth < 8; Depth++) {
        if ((ULONG_PTR)Frame < Thread->StackLow || (ULONG_PTR)Frame >= Thread->StackHigh - 16 || ((ULONG_PTR)Frame & 7))
            break;
        if (MmRegionOf((const VOID *)Frame[1]) == MmRegionDriverImages)
            return ViDriverOf(Frame[1])->Verified;
        if (Frame[0] <= (ULONG_PTR)Frame)
            break;
        Frame = (const ULONG_PTR *)Frame[0];
    }
    return ViProgram.Verified;
}

static VOID ViCopyName(CHAR *To, const CHAR *From)
{
    ULONG Index;
    for (Index = 0; Index < 63 && From[Index] != 0; Index++)
        To[Index] = From[Index];
    To[Index] = 0;
}

/* ---- leaks ---- */
typedef struct _VI_LEAK {
    const VI_DRIVER *Driver;
    ULONG64 Blocks, Bytes;
    ULONG_PTR Example, Site; /* a block, and the driver's code that allocated it */
    BOOLEAN Places;          /* they are wanted, for the report */
    ULONG_PTR Known[64];     /* verdicts of KiIsDriverCodeRoutine, which is slow: call site | 1 for a driver's */
} VI_LEAK;

static BOOLEAN ViIsDriverCode(VI_LEAK *Leak, ULONG_PTR Site)
{
    ULONG_PTR *Known = &Leak->Known[Site * 0x9E3779B97F4A7C15ull >> 58];
    if ((*Known & ~1ull) != (Site & ~1ull))
        *Known = (Site & ~1ull) | (KiIsDriverCodeRoutine == NULL || KiIsDriverCodeRoutine(Site - 1));
    return *Known & 1;
}

static VF_LEAK_PLACE ViLeakPlaces[VF_LEAK_PLACES];

/* The block is its place's; where all places are taken, the one with the fewest bytes makes room. */
static VOID ViAddToPlace(const EXP_BLOCK_INFO *Info)
{
    VF_LEAK_PLACE *Place = NULL, *Least = &ViLeakPlaces[0];
    for (ULONG Index = 0; Index < VF_LEAK_PLACES && Place == NULL; Index++) {
        VF_LEAK_PLACE *Try = &ViLeakPlaces[Index];
        if (Try->Blocks == 0 || (Try->Tag == Info->Tag && Try->PoolType == Info->PoolType && Try->Frames == Info->AllocFrames &&
                                 memcmp(Try->Stack, Info->AllocStack, Try->Frames * sizeof(Try->Stack[0])) == 0))
            Place = Try;
        if (Try->Bytes < Least->Bytes)
            Least = Try;
    }
    if (Place == NULL && Info->Size <= Least->Bytes)
        return;
    if (Place == NULL)
        memset(Place = Least, 0, sizeof(*Least));
    if (Place->Blocks++ == 0) {
        Place->Tag = Info->Tag;
        Place->PoolType = Info->PoolType;
        Place->First = Info->Start;
        Place->Frames = Info->AllocFrames;
        memcpy(Place->Stack, Info->AllocStack, sizeof(Place->Stack));
    }
    Place->Bytes += Info->Size;
}

ULONG VfReadLeak(VF_LEAK_PLACE Places[VF_LEAK_PLACES])
{
    ULONG Count = 0;
    while (Count < VF_LEAK_PLACES && ViLeakPlaces[Count].Blocks != 0) {
        Places[Count] = ViLeakPlaces[Count];
        Count++;
    }
    return Count;
}

/* The frame that allocated: the first that is not the border's; of what the system allocates on a driver's behalf the first of anybody
 * else than the system. AllocFrames: there is none. */
static ULONG ViAllocatingFrame(VI_LEAK *Leak, const EXP_BLOCK_INFO *Info)
{
    BOOLEAN OnBehalf = Info->Tag == IOP_MDL_TAG || Info->Tag == IOP_WORKITEM_TAG;
    ULONG At = 0;
    while (At < Info->AllocFrames &&
           (Info->AllocStack[At] - KiBorderStart < KiBorderEnd - KiBorderStart ||
            (OnBehalf && !HalIsSystemAddress(Info->AllocStack[At]) && !ViIsDriverCode(Leak, Info->AllocStack[At]))))
        At++;
    return At;
}

static BOOLEAN ViSumLeak(const EXP_BLOCK_INFO *Info, PVOID Context)
{
    VI_LEAK *Leak = Context;
    ULONG At = ViAllocatingFrame(Leak, Info);
    if (At == Info->AllocFrames)
        return TRUE;
    if (Leak->Driver->Size != 0 ? Info->AllocStack[At] - Leak->Driver->Base >= Leak->Driver->Size
                                : HalIsSystemAddress(Info->AllocStack[At]) || !ViIsDriverCode(Leak, Info->AllocStack[At]))
        return TRUE;
    Leak->Blocks++;
    Leak->Bytes += Info->Size;
    Leak->Example = Info->Start;
    Leak->Site = Info->AllocStack[At];
    if (Leak->Places)
        ViAddToPlace(Info);
    return TRUE;
}

static VOID ViFindLeak(const VI_DRIVER *Driver, VI_LEAK *Leak, BOOLEAN Places)
{
    memset(Leak, 0, sizeof(*Leak));
    Leak->Driver = Driver;
    Leak->Places = Places;
    ExpEnumerateBlocks(ViSumLeak, Leak);
}

/* Has it not freed all? The places are for the report; there are none where blocks are as old as it, as nobody knows which. */
static BOOLEAN ViHasLeak(const VI_DRIVER *Driver, VI_LEAK *Leak)
{
    memset(ViLeakPlaces, 0, sizeof(ViLeakPlaces));
    ViFindLeak(Driver, Leak, Driver->BlocksBefore == 0);
    return Leak->Blocks > Driver->BlocksBefore;
}

static VI_DRIVER *ViFindByObject(PDRIVER_OBJECT Object)
{
    VI_DRIVER *Driver = ViDrivers;
    while (Driver != NULL && Driver->Object != Object)
        Driver = Driver->Next;
    return Driver;
}

static VOID ViDriverLoading(PDRIVER_OBJECT Object, const CHAR *Name)
{
    VI_DRIVER *Driver = MmAllocatePages(MmRegionSystemData, 1, MM_PAGES_ZERO, HighPoolPriority);
    VI_LEAK Leak;
    if (Driver == NULL)
        return;
    Driver->Object = Object;
    Driver->Base = (ULONG_PTR)Object->DriverStart;
    Driver->Size = Object->DriverStart != NULL ? Object->DriverSize : 0;
    ViCopyName(Driver->Name, Name);
    Driver->Verified = ViNameIsChosen(Driver->Size != 0 ? Name : "program") || ViNameIsChosen(Name);
    Driver->Loaded = TRUE;
    Driver->LocksBefore = ViLocksMade();
    VI_COUNT(Loads);
    if ((KiVerifierFlags() & VF_POOL_TRACKING) && Driver->Size == 0) {
        ViFindLeak(Driver, &Leak, FALSE);
        Driver->BlocksBefore = Leak.Blocks;
    }
    KiAcquireLock(&DriverLock);
    Driver->Next = ViDrivers;
    __atomic_store_n(&ViDrivers, Driver, __ATOMIC_RELEASE);
    KiReleaseLock(&DriverLock);
}

static VOID ViDriverUnloaded(PDRIVER_OBJECT Object)
{
    VI_DRIVER *Driver = ViFindByObject(Object);
    VI_LEAK Leak;
    if (Driver == NULL)
        return;
    Driver->Object = NULL;
    ViForgetLocks(Driver->Base, Driver->Size);
    VI_COUNT(Unloads);
    Driver->Leaving = TRUE;
    if (KiVerifierFlags() != 0 && Driver->Verified) {
        if ((KiVerifierFlags() & VF_POOL_TRACKING) && Driver->Size != 0)
            ViAwaitThreads(Driver);
        ViCheckLeft(Driver);
    }
    if ((KiVerifierFlags() & VF_POOL_TRACKING) && Driver->Verified) {
        if (ViHasLeak(Driver, &Leak)) {
            Driver->Loaded = FALSE;
            KI_BUGCHECK Stop = {
                .Code = 0xC4,
                .Parameters = {0x62, (ULONG_PTR)Driver->Name, (ULONG_PTR)Driver, Leak.Blocks - Driver->BlocksBefore},
                .Words = "A driver was unloaded that has not freed all the pool it allocated.",
                .Block = (PVOID)Leak.Example,
                .Driver = KiCallBefore(Leak.Site)};
            KiBugCheck(&Stop);
        }
    }
    Driver->Loaded = FALSE;
}

VOID VfReportLeft(VOID (*Tell)(const CHAR *Name, ULONG64 Blocks, ULONG64 Bytes))
{
    VI_LEAK Leak;
    BOOLEAN Program = FALSE; /* source drivers are one program: told of once */
    if (!(KiVerifierFlags() & VF_POOL_TRACKING))
        return;
    for (VI_DRIVER *Driver = ViDrivers != NULL ? ViDrivers : &ViProgram; Driver != NULL; Driver = Driver->Next) {
        if (!Driver->Loaded || !Driver->Verified || (Driver->Size == 0 && Program))
            continue;
        Program |= Driver->Size == 0;
        if (ViHasLeak(Driver, &Leak))
            Tell(Driver->Name, Leak.Blocks - Driver->BlocksBefore, Leak.Bytes);
    }
}

VOID ViInitDrivers(VOID)
{
    ViDrivers = NULL;
    memset(ViLeakPlaces, 0, sizeof(ViLeakPlaces));
    memset(&ViProgram, 0, sizeof(ViProgram));
    ViCopyName(ViProgram.Name, "program");
    ViProgram.Verified = ViNameIsChosen("program");
    ViProgram.Loaded = TRUE;
    IopDriverLoadingRoutine = ViDriverLoading;
    MmDriverNameRoutine = ViNameOfCode;
    IopDriverUnloadedRoutine = ViDriverUnloaded;
}

VOID ViStopDrivers(VOID)
{
    IopDriverLoadingRoutine = NULL;
    IopDriverUnloadedRoutine = NULL;
}
