/*
 * security.c - what drivers hand to the kernel: user addresses, malformed strings and handles (security checks, option 0x100), and
 * synchronization objects in memory that may be paged out (force IRQL checking, 0x2). SPDX-License-Identifier: MIT
 *
 * A Zw service trusts its caller: called by a driver with an address from user mode, it reads and writes there unprobed, and user code
 * may change or unmap the memory meanwhile. So while the option is on a verified driver is stopped for
 *
 *   a Zw service    an argument that is a user address, or an OBJECT_ATTRIBUTES that leads to one    0xC4/0xE3  call site, address
 *                   a string of odd length, longer than its maximum, or with a user buffer           0xC4/0xE4  call site, string
 *   another routine an argument that is a user address                                               0xC4/0xE0  address, bytes
 *   IoCallDriver    an IRP of kernel mode with a user buffer (not described by an MDL)               0xC4/0xE2  IRP, address
 *   ObReferenceObjectByHandle                                        (handle, current process, call site)
 *                   NULL                                                                             0xC4/0xF5
 *                   a user handle, taken for one of the kernel's (KernelMode)                        0xC4/0xF6
 *                   a kernel handle, taken for one of the user's (UserMode)                          0xC4/0xF7
 *
 * Code with a user's rights (ps/usermode.c) is no driver: its addresses are its own. The services that work on virtual memory take
 * pointers to user addresses; the pointers count, not what they point at.
 *
 * The layers below ask through KI_SECURITY (ki.h), which is empty unless an option is on. Strings are read as the service itself will
 * read them. Any IRQL; no locks.
 */
#include "vf/vfp.h"
#include "mm/mm.h"

/* Source drivers and this library are one program: symbols tell them apart. */
static BOOLEAN ViIsDriver(ULONG_PTR Caller)
{
    return HalIsSystemAddress(Caller) || KiIsDriverCodeRoutine == NULL || KiIsDriverCodeRoutine(Caller - 1);
}

static BOOLEAN ViIsCheckedCaller(ULONG_PTR *Caller)
{
    if (KiCurrentThread()->UserRights)
        return FALSE;
    *Caller = ViCallerOf(*Caller);
    return ViDriverOf(*Caller)->Verified;
}

static BOOLEAN ViIsUser(const VOID *Address)
{
    return HalIsUserAddress((ULONG_PTR)Address);
}

static VOID ViCheckServiceAddress(ULONG_PTR Caller, const VOID *Address)
{
    if (ViIsUser(Address) && ViIsDriver(Caller))
        KiStop(0xC4, "A Zw service was called by a driver with an address of user mode.", NULL, 0xE3, Caller,
               (ULONG_PTR)Address, 0);
}

static VOID ViCheckServiceString(ULONG_PTR Caller, const UNICODE_STRING *String)
{
    if (String == NULL)
        return;
    ViCheckServiceAddress(Caller, String);
    const CHAR *Words = String->Length & 1 ? "A Zw service was called with a UNICODE_STRING whose length is odd."
                        : String->Length > String->MaximumLength
                            ? "A Zw service was called with a UNICODE_STRING that is longer than its maximum length."
                        : String->Length != 0 && ViIsUser(String->Buffer)
                            ? "A Zw service was called by a driver with a UNICODE_STRING whose buffer is in user mode."
                            : NULL;
    if (Words != NULL && ViIsDriver(Caller))
        KiStop(0xC4, Words, NULL, 0xE4, Caller, (ULONG_PTR)String, 0);
}

static VOID ViCheckService(ULONG_PTR Caller, const OBJECT_ATTRIBUTES *Attributes, const UNICODE_STRING *String,
                           const VOID *const *Addresses, ULONG Count)
{
    if (!ViIsCheckedCaller(&Caller))
        return;
    for (ULONG Index = 0; Index < Count; Index++)
        ViCheckServiceAddress(Caller, Addresses[Index]);
    ViCheckServiceString(Caller, String);
    ViCheckServiceAddress(Caller, Attributes);
    if (Attributes != NULL) {
        ViCheckServiceString(Caller, Attributes->ObjectName);
        ViCheckServiceAddress(Caller, Attributes->SecurityDescriptor);
    }
}

static VOID ViCheckRoutine(ULONG_PTR Caller, const UNICODE_STRING *String, const VOID *Address, SIZE_T Bytes)
{
    if (!ViIsCheckedCaller(&Caller))
        return;
    if (ViIsUser(String)) {
        Address = String;
        Bytes = sizeof *String;
    } else if (String != NULL && String->Length != 0 && ViIsUser(String->Buffer)) {
        Address = String->Buffer;
        Bytes = String->Length;
    }
    if (ViIsUser(Address) && ViIsDriver(Caller))
        KiStop(0xC4, "A kernel routine was called by a driver with an address of user mode.", NULL, 0xE0, (ULONG_PTR)Address,
               Bytes, 0);
}

static VOID ViCheckHandle(ULONG_PTR Caller, HANDLE Handle, ULONG Type)
{
    if (!ViIsCheckedCaller(&Caller) || !ViIsDriver(Caller))
        return;
    KiStop(0xC4,
           Type == 0xF5 ? "A NULL handle was referenced."
           : Type == 0xF6
               ? "A handle of a user process was referenced as one of the kernel's: OBJ_KERNEL_HANDLE is missing, or "
                 "UserMode."
               : "A handle of the kernel's was referenced as one of a user process.",
           NULL, Type, (ULONG_PTR)Handle, (ULONG_PTR)KiCurrentThread()->Process, Caller);
}

static VOID ViCheckIrp(ULONG_PTR Caller, const VOID *Irp, const VOID *Address)
{
    if (ViIsUser(Address) && ViIsCheckedCaller(&Caller) && ViIsDriver(Caller))
        KiStop(0xC4, "An IRP of kernel mode was sent with a buffer in user mode.", Irp, 0xE2, (ULONG_PTR)Irp,
               (ULONG_PTR)Address, 0);
}

static const KI_SECURITY_CHECKS ViSecurityChecks = {ViCheckService, ViCheckRoutine, ViCheckHandle, ViCheckIrp};

VOID ViSetSecurityChecks(BOOLEAN On)
{
    __atomic_store_n(&KiSecurityChecks, On ? &ViSecurityChecks : NULL, __ATOMIC_RELEASE);
}

/* ---- objects that must stay in memory ---- */
static VOID ViCheckObject(const VOID *Object, ULONG_PTR Caller)
{
    if (MmIsPageableAddress(Object) && ViDriverOf(ViCallerOf(Caller))->Verified)
        KiStop(0xC4, "A synchronization object was initialised in memory that may be paged out.", Object, 0xE1,
               (ULONG_PTR)Object, 0, 0);
}

VOID ViSetObjectChecks(BOOLEAN On)
{
    __atomic_store_n(&KiCheckObjectRoutine, On ? ViCheckObject : NULL, __ATOMIC_RELEASE);
}
