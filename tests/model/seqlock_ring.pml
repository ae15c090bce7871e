/* The protocol of kernels/include/depthd.h: a ring of slots, one writer that may die at every step, its successors,
 * and readers that are woken by a futex. Checked exhaustively:
 *
 *     spin -a seqlock_ring.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan -m100000
 *
 * Claims: no reader accepts a torn frame or mixes metadata and pixels of two frames; ids that a reader accepts only
 * grow; `newest` always names a whole slot; no reader sleeps over a frame.
 * Each of -DNO_FIRST_CHECK, -DNO_SECOND_CHECK, -DWRITE_THE_NEWEST, -DWAIT_WITHOUT_SEEN, -DSILENT_TAKEOVER,
 * -DIDS_FROM_COUNTER, -DANY_OTHER_ID leaves out one rule and has to fail: that is how we know that the model can.
 *
 * Spin steps through one order of memory for all (sequential consistency). That the atomics enforce this order on
 * real machines is argued in the header, beside each of them. */

#ifndef SLOTS
#define SLOTS 3
#endif
#ifndef READERS
#define READERS 2
#endif
#ifndef FRAMES
#define FRAMES 4 /* begun; enough to come round the ring */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#define NONE SLOTS
#define TORN 255

/* Shared memory. A frame's pixels are two words, so that they can be torn. */
byte sequence[SLOTS];
byte id[SLOTS];
byte pixels_a[SLOTS];
byte pixels_b[SLOTS];
byte newest = NONE;
byte published;
byte wake;

/* The kernel's: who sleeps on the futex. */
bool asleep[READERS];

/* The checker's: what was begun, and which frame an id stands for. */
byte begun;
byte crashes;
byte frame_of_id[FRAMES + 2];
bool finished;

#define WHOLE (newest == NONE || sequence[newest] % 2 == 0)

/* One access to shared memory, after which the writer may die: only the shared memory is left for a successor. */
#define STEP(access)                                              \
    atomic {                                                      \
        access;                                                   \
        assert(WHOLE);                                            \
        if                                                        \
        :: crashes < CRASHES -> crashes++; goto takeover          \
        :: true                                                   \
        fi                                                        \
    }

#define WAKE_EVERYBODY                                            \
    d_step {                                                      \
        reader_number = 0;                                        \
        do                                                        \
        :: reader_number < READERS -> asleep[reader_number] = false; reader_number++ \
        :: else -> break                                          \
        od;                                                       \
        reader_number = 0                                         \
    }

proctype Writer() {
    byte slot, next_id, reader_number, i;
takeover:
    skip;
    d_step {
        slot = 0;
        reader_number = 0;
        next_id = published;
#ifndef IDS_FROM_COUNTER
        i = 0;
        do
        :: i < SLOTS -> if :: id[i] > next_id -> next_id = id[i] :: else fi; i++
        :: else -> break
        od;
#endif
        i = 0;
        next_id++
    }
#ifndef SILENT_TAKEOVER
    STEP(wake++);
    STEP(WAKE_EVERYBODY);
#endif
    do
    :: begun < FRAMES ->
#ifdef WRITE_THE_NEWEST
        d_step { begun++; slot = (newest == NONE -> 0 : newest) }
#else
        d_step { begun++; slot = (newest == NONE -> 0 : (newest + 1) % SLOTS) }
#endif
        STEP(sequence[slot] = sequence[slot] + 1 + sequence[slot] % 2);
        STEP(pixels_a[slot] = begun);
        STEP(pixels_b[slot] = begun);
        STEP(id[slot] = next_id; frame_of_id[next_id] = begun; next_id++);
        STEP(sequence[slot] = sequence[slot] + 1);
        STEP(newest = slot);
        STEP(published = id[slot]; slot = 0);
        STEP(wake++);
        STEP(WAKE_EVERYBODY)
    :: else -> break
    od;
    finished = true /* and nobody is woken: who still sleeps must have seen everything */
}

/* Each atomic step has one access to shared memory; what follows in it is the reader's own business. */
proctype Reader(byte me) {
    byte seen, slot, before, its_id, a, last, last_frame;
look:
    skip;
    d_step { slot = 0; before = 0; its_id = 0; a = 0; seen = wake };
    atomic {
        slot = newest;
        if
        :: slot == NONE -> goto nothing_new
        :: else
        fi
    };
    atomic {
        before = sequence[slot];
#ifndef NO_FIRST_CHECK
        if
        :: before % 2 == 1 -> goto look
        :: else
        fi
#endif
    };
    its_id = id[slot];
    atomic {
        if
        :: sequence[slot] != before -> goto look
        :: else
        fi;
        if
#ifdef ANY_OTHER_ID
        :: its_id == last -> goto nothing_new
#else
        :: its_id <= last -> goto nothing_new
#endif
        :: else
        fi
    };
    a = pixels_a[slot];
    atomic {
        if
        :: a == pixels_b[slot]
        :: else -> a = TORN
        fi
    };
    atomic {
#ifndef NO_SECOND_CHECK
        if
        :: sequence[slot] != before -> goto look
        :: else
        fi;
#endif
        assert(a != TORN);
        assert(a == frame_of_id[its_id]);
        assert(its_id > last);
        last = its_id;
        last_frame = a;
        goto look
    };
nothing_new:
    skip;
    /* The futex compares and falls asleep in one step. */
    d_step {
        slot = 0;
        before = 0;
        its_id = 0;
#ifdef WAIT_WITHOUT_SEEN
        asleep[me] = true;
#else
        asleep[me] = (wake == seen);
#endif
        seen = 0
    };
    if
    :: !asleep[me] -> goto look
    :: finished && asleep[me] -> skip
    fi;
    assert(newest == NONE || last > id[newest] || (last == id[newest] && last_frame == pixels_a[newest]))
}

init {
    atomic {
        byte reader;
        run Writer();
        do
        :: reader < READERS -> run Reader(reader); reader++
        :: else -> break
        od
    }
}
