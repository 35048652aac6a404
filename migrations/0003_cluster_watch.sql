ALTER TABLE "clusters" ADD COLUMN "watch" text DEFAULT 'POLLING' NOT NULL;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "watch_reason" text;