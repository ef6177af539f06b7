/*
 * request.c - requests of the user-mode requester, for the host-side API. SPDX-License-Identifier: MIT
 *
 * The host's bytes are copied to user memory of the requester - the calling thread's process (ntmm_process_run), or else the
 * one user process that there always is -, the request is made by the calling thread as one of that process (PreviousMode
 * UserMode), and what the driver left in the output buffer is copied back. So a driver sees user addresses where Windows would
 * show it some, and ProbeForRead, MmProbeAndLockPages and plain misuse behave.
 *
 *     host buffer --copy--> user pages --(method)--> driver
 *         ^                     |
 *         +------- copy --------+   the whole output buffer, as a user process would see it
 *
 * A request that is not complete when its time is up is cancelled, given the time again, and then left to the driver: user pages
 * and packet stay until it completes (IOP_R_ABANDONED).
 */
#include "io/iopp.h"

NTSTATUS IopOpenUser(PCUNICODE_STRING Name, ACCESS_MASK Access, PFILE_OBJECT *File)
{
    IOP_OPEN Packet = {
        .Disposition = FILE_OPEN, .Options = FILE_NON_DIRECTORY_FILE, .ShareAccess = FILE_SHARE_READ | FILE_SHARE_WRITE};
    OBP_OPEN Open = {
        .Type = &IopFileType, .Access = Access, .Attributes = OBJ_CASE_INSENSITIVE, .Mode = UserMode, .Context = &Packet};
    PSP_SERVE(TRUE);
    PSP_IDENTITY Saved;
    *File = NULL;
    NTSTATUS Status = PspCreateUserProcess();
    if (!NT_SUCCESS(Status))
        return Status;
    PspBecome(PspRequester(), UserMode, &Saved);
    Status = ObpLookup(NULL, Name, &Open, (PVOID *)File);
    PspRevert(&Saved);
    return Status;
}

NTSTATUS IopCloseUser(PFILE_OBJECT File)
{
    PSP_SERVE(TRUE);
    PSP_IDENTITY Saved;
    PspBecome(PspRequester(), UserMode, &Saved);
    IopCleanupFile(File);
    ObfDereferenceObject(File);
    PspRevert(&Saved);
    return STATUS_SUCCESS;
}

/* User pages with a copy of the host's bytes; NULL for no bytes. */
static NTSTATUS IopToUser(IOP_REQUEST *Request, ULONG Slot, const VOID *Bytes, ULONG Length, PVOID *User)
{
    *User = NULL;
    if (Length == 0)
        return STATUS_SUCCESS;
    Request->UserPageCount[Slot] = BYTES_TO_PAGES((SIZE_T)Length);
    Request->UserPages[Slot] = MmAllocateUserPages(Request->UserPageCount[Slot], PAGE_READWRITE);
    if (Request->UserPages[Slot] == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    *User = Request->UserPages[Slot];
    return Bytes ? MmCopyToManaged(*User, Bytes, Length) : STATUS_SUCCESS;
}

typedef struct _IOP_USER_CALL {
    UCHAR Major;
    ULONG Code;
    const VOID *In;
    ULONG InLength;
    VOID *Out;
    ULONG OutLength;
    LONGLONG Offset;
    ULONG TimeoutMs;
    BOOLEAN AsIs; /* the pointers are the requester's own: nothing is copied for them */
} IOP_USER_CALL;

/* What the I/O manager itself looks at must be user memory; with METHOD_NEITHER it looks at nothing. */
static BOOLEAN IopMayPass(const IOP_USER_CALL *Call)
{
    const struct {
        const VOID *Start;
        ULONG Length;
    } Buffers[2] = {{Call->In, Call->InLength}, {Call->Out, Call->OutLength}};
    for (ULONG i = 0; i < 2 && METHOD_FROM_CTL_CODE(Call->Code) != METHOD_NEITHER; i++) {
        ULONG_PTR Start = (ULONG_PTR)Buffers[i].Start, End = Start + Buffers[i].Length;
        if (Buffers[i].Length && (End < Start || End > MmUserProbeAddress))
            return FALSE;
    }
    return TRUE;
}

static NTSTATUS IopUserCall(PFILE_OBJECT File, const IOP_USER_CALL *Call, ULONG_PTR *Information)
{
    PSP_SERVE(TRUE);
    PSP_IDENTITY Saved;
    PDEVICE_OBJECT Top = IoGetRelatedDeviceObject(File);
    PVOID UserIn, UserOut;
    BOOLEAN Abandoned = FALSE;
    ULONG_PTR Stored = 0;
    PIRP Irp = IopAllocateIrp(Top->StackSize);
    IOP_REQUEST *Request = Irp ? IopCreateRequest(Irp) : NULL;
    NTSTATUS Status;
    if (Information)
        *Information = 0;
    if (Request == NULL) {
        if (Irp)
            IoFreeIrp(Irp);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    ObfReferenceObject(File);
    Request->FileObject = File;
    Request->KeepFile = TRUE;
    Request->Process = PspRequester();
    ObfReferenceObject(Request->Process);
    PspBecome(Request->Process, UserMode, &Saved);
    if (Call->AsIs) {
        UserIn = (PVOID)(ULONG_PTR)Call->In;
        UserOut = Call->Out;
        Status = IopMayPass(Call) ? STATUS_SUCCESS : STATUS_ACCESS_VIOLATION;
    } else {
        Status = IopToUser(Request, 0, Call->In, Call->InLength, &UserIn);
        if (NT_SUCCESS(Status))
            Status = IopToUser(Request, 1, Call->Out, Call->OutLength, &UserOut);
    }
    if (NT_SUCCESS(Status)) {
        if (Call->Major == IRP_MJ_READ)
            Status = IopSetTransfer(Irp, Call->Major, Top->Flags, UserOut, Call->OutLength, Call->Offset, UserMode);
        else if (Call->Major == IRP_MJ_WRITE)
            Status = IopSetTransfer(Irp, Call->Major, Top->Flags, UserIn, Call->InLength, Call->Offset, UserMode);
        else
            Status = IopSetControl(Irp, Call->Major, Call->Code, UserIn, Call->InLength, UserOut, Call->OutLength, UserMode);
    }
    if (!NT_SUCCESS(Status)) {
        PspRevert(&Saved);
        IoFreeIrp(Irp);
        IopDestroyRequest(Request);
        return Status;
    }
    IoGetNextIrpStackLocation(Irp)->FileObject = File;
    Status = IopSendAndWait(Top, Request, Call->TimeoutMs, &Stored, &Abandoned);
    PspRevert(&Saved);
    if (Abandoned)
        return Status;
    if (UserOut && Call->Out && !Call->AsIs)
        MmCopyFromManaged(Call->Out, UserOut, Call->OutLength);
    if (Information)
        *Information = Stored;
    IopDestroyRequest(Request);
    return Status;
}

NTSTATUS IopDeviceControlUser(PFILE_OBJECT File, BOOLEAN InternalControl, ULONG Code, const VOID *In, ULONG InLength, VOID *Out,
                              ULONG OutLength, ULONG TimeoutMs, ULONG_PTR *Information)
{
    IOP_USER_CALL Call = {.Major = InternalControl ? IRP_MJ_INTERNAL_DEVICE_CONTROL : IRP_MJ_DEVICE_CONTROL,
                          .Code = Code,
                          .In = In,
                          .InLength = InLength,
                          .Out = Out,
                          .OutLength = OutLength,
                          .TimeoutMs = TimeoutMs};
    return IopUserCall(File, &Call, Information);
}

NTSTATUS IopReadUser(PFILE_OBJECT File, VOID *Buffer, ULONG Length, LONGLONG Offset, ULONG TimeoutMs, ULONG_PTR *Information)
{
    IOP_USER_CALL Call = {.Major = IRP_MJ_READ, .Out = Buffer, .OutLength = Length, .Offset = Offset, .TimeoutMs = TimeoutMs};
    return IopUserCall(File, &Call, Information);
}

NTSTATUS IopWriteUser(PFILE_OBJECT File, const VOID *Buffer, ULONG Length, LONGLONG Offset, ULONG TimeoutMs,
                      ULONG_PTR *Information)
{
    IOP_USER_CALL Call = {.Major = IRP_MJ_WRITE, .In = Buffer, .InLength = Length, .Offset = Offset, .TimeoutMs = TimeoutMs};
    return IopUserCall(File, &Call, Information);
}

NTSTATUS IopDeviceControlAsIs(PFILE_OBJECT File, ULONG Code, PVOID In, ULONG InLength, PVOID Out, ULONG OutLength,
                              ULONG TimeoutMs, ULONG_PTR *Information)
{
    IOP_USER_CALL Call = {.Major = IRP_MJ_DEVICE_CONTROL,
                          .Code = Code,
                          .In = In,
                          .InLength = InLength,
                          .Out = Out,
                          .OutLength = OutLength,
                          .TimeoutMs = TimeoutMs,
                          .AsIs = TRUE};
    return IopUserCall(File, &Call, Information);
}
