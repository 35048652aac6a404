/** The shape of the buckets in which a long series is summarised: shared by who fills them and who reads them. */

/** Levels 0 to 9. Level 0 holds some 16 points a bucket, the last some 4 million. */
export const BUCKET_LEVELS = 10;
/** Each bucket of a level holds 2 to this power buckets of the level below. */
export const LEVEL_SHIFT = 2;
export const TOP_LEVEL = BUCKET_LEVELS - 1;
