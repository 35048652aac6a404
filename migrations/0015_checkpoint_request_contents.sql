ALTER TABLE "checkpoint_request_items" ADD COLUMN "file_count" integer;--> statement-breakpoint
ALTER TABLE "checkpoint_request_items" ADD COLUMN "written_at" timestamp with time zone;--> statement-breakpoint
UPDATE "checkpoint_request_items" i SET "file_count" = c.file_count, "written_at" = c.written_at FROM "checkpoints" c WHERE c.job_id = i.job_id AND c.id = i.checkpoint_id;--> statement-breakpoint
DELETE FROM "checkpoint_request_items" WHERE "written_at" IS NULL;--> statement-breakpoint
ALTER TABLE "checkpoint_request_items" ALTER COLUMN "file_count" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "checkpoint_request_items" ALTER COLUMN "written_at" SET NOT NULL;