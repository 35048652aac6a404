ALTER TABLE "attempts" ADD COLUMN "note" text;--> statement-breakpoint
ALTER TABLE "batches" ADD COLUMN "former_tasks" jsonb;